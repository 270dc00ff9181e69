// The functions of libcudnn, found when the program runs, under their own names and types.
#pragma once

#include <cudnn.h>
#include <dlfcn.h>

#include <stdexcept>
#include <string>

#define CUDNN_FUNCTIONS(apply)                                                                     \
  apply(cudnnGetVersion) apply(cudnnGetErrorString) apply(cudnnCreate) apply(cudnnSetStream)       \
      apply(cudnnCreateTensorDescriptor) apply(cudnnDestroyTensorDescriptor)                       \
          apply(cudnnSetTensor4dDescriptor) apply(cudnnCreateFilterDescriptor)                     \
              apply(cudnnDestroyFilterDescriptor) apply(cudnnSetFilter4dDescriptor)                \
                  apply(cudnnCreateConvolutionDescriptor) apply(cudnnDestroyConvolutionDescriptor) \
                      apply(cudnnSetConvolution2dDescriptor) apply(cudnnSetConvolutionMathType)    \
                          apply(cudnnFindConvolutionForwardAlgorithmEx)                            \
                              apply(cudnnFindConvolutionBackwardDataAlgorithmEx)                   \
                                  apply(cudnnFindConvolutionBackwardFilterAlgorithmEx)             \
                                      apply(cudnnConvolutionForward)                               \
                                          apply(cudnnConvolutionBackwardData)                      \
                                              apply(cudnnConvolutionBackwardFilter)

struct Library {
#define DECLARE(name) decltype(&::name) name;
  CUDNN_FUNCTIONS(DECLARE)
#undef DECLARE

  explicit Library(const char* path) {
    void* const handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (handle == nullptr) throw std::runtime_error(dlerror());
#define LOAD(name) load(handle, #name, name);
    CUDNN_FUNCTIONS(LOAD)
#undef LOAD
  }

  void check(cudnnStatus_t status, const char* what) const {
    if (status != CUDNN_STATUS_SUCCESS) {
      throw std::runtime_error(std::string(what) + ": " + cudnnGetErrorString(status));
    }
  }

 private:
  template <class Function>
  static void load(void* handle, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(handle, name));
    if (function == nullptr) throw std::runtime_error(dlerror());
  }
};
#define CUDNN(function, ...) lib.check(lib.function(__VA_ARGS__), #function)
