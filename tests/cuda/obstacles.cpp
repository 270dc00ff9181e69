// Says what core/cuda_status.cpp makes of the driver's answers, a line for each line of stdin:
// architectures|error|driver|runtime|capabilities, such as 80-real;90-virtual|0|13000|13000|8.6 9.0
#include <iostream>
#include <sstream>
#include <string>

#include "core/cuda_status.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream fields(line);
    std::string architectures, error, driver, runtime, capabilities;
    std::getline(fields, architectures, '|');
    std::getline(fields, error, '|');
    std::getline(fields, driver, '|');
    std::getline(fields, runtime, '|');
    std::getline(fields, capabilities);
    unet::CudaAnswers answers;
    answers.error = std::stoi(error);
    answers.error_text = "some error";
    answers.driver = std::stoi(driver);
    answers.runtime = std::stoi(runtime);
    std::istringstream devices(capabilities);
    for (unet::CudaDevice device; devices >> device.major;) {
      devices.ignore();
      devices >> device.minor;
      device.name = "GPU";
      answers.devices.push_back(device);
    }
    std::cout << unet::cuda_obstacle(answers, architectures, "no nvcc was found") << '\n';
  }
}
