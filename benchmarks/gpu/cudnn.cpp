// cuDNN's best algorithm for one pass of one convolution: found by trying all, then timed on
// request. A program of its own, compiled on the spot by cudnn.py, for the libcudnn.so.9 named by
// its argument.
//
// It reads requests from standard input, a line each, and answers each with a line of JSON:
//
//   facts                                            {"device":, "cudnn":, "runtime":, "driver":}
//   prepare MATH PASS N C H W K R STRIDE FILTER      the fastest algorithm, and some of what it
//   gives time REPEATS                                     [milliseconds, ..] of the prepared one
//
// MATH is "fp32" (tensor cores forbidden), "tf32" (allowed to round float32 operands to TF32) or
// "bf16" (blobs and filters in bfloat16, sums in float32). PASS is "forward", "backward_data" or
// "backward_weights" of an unpadded convolution of a bottom (N, C, H, W) with K filters of RxR.
// FILTER is "plain" or "transposed": an up-convolution is this convolution with its passes and the
// seeds of bottom and top exchanged, and its filters lie the other way round.
//
// Operands are the hashes of operands.py. Both layouts are tried, every algorithm that needs no
// more than 1 GB of workspace. Time is the device's, between two events, with its caches flushed
// before.
#include <cuda_runtime.h>
#include <cudnn.h>

#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "cudnn_library.h"
#include "cudnn_operand.h"

namespace {

constexpr std::size_t kWorkspace = std::size_t{1} << 30, kFlushed = std::size_t{256} << 20;

enum class Pass { kForward, kBackwardData, kBackwardWeights };

struct Request {
  std::string math;
  Pass pass;
  int n, c, h, w, k, r, stride;
  bool is_transposed;

  int oh() const { return (h - r) / stride + 1; }
  int ow() const { return (w - r) / stride + 1; }
};

Request parse(std::istream& words) {
  Request q;
  std::string pass, filter;
  words >> q.math >> pass >> q.n >> q.c >> q.h >> q.w >> q.k >> q.r >> q.stride >> filter;
  q.pass = pass == "forward"         ? Pass::kForward
           : pass == "backward_data" ? Pass::kBackwardData
                                     : Pass::kBackwardWeights;
  q.is_transposed = filter == "transposed";
  if (!words || (q.math != "fp32" && q.math != "tf32" && q.math != "bf16")) {
    throw std::runtime_error("a request that is none");
  }
  return q;
}

// One pass in one layout, with its operands on the device.
class Problem {
 public:
  Problem(const Library& library, cudnnHandle_t handle, const Request& q, bool is_nhwc)
      : lib(library),
        handle_(handle),
        q_(q),
        is_nhwc_(is_nhwc),
        is_bf16_(q.math == "bf16"),
        x_({q.n, q.c, q.h, q.w}, kChannelsLast, order(), is_bf16_),
        w_({q.k, q.c, q.r, q.r}, q.is_transposed ? "2301" : "2310", order(), is_bf16_),
        y_({q.n, q.k, q.oh(), q.ow()}, kChannelsLast, order(), is_bf16_) {
    const cudnnTensorFormat_t format = is_nhwc ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW;
    const cudnnDataType_t type = is_bf16_ ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    CUDNN(cudnnCreateTensorDescriptor, &x_shape_);
    CUDNN(cudnnCreateTensorDescriptor, &y_shape_);
    CUDNN(cudnnCreateFilterDescriptor, &w_shape_);
    CUDNN(cudnnCreateConvolutionDescriptor, &convolution_);
    CUDNN(cudnnSetTensor4dDescriptor, x_shape_, format, type, q.n, q.c, q.h, q.w);
    CUDNN(cudnnSetTensor4dDescriptor, y_shape_, format, type, q.n, q.k, q.oh(), q.ow());
    CUDNN(cudnnSetFilter4dDescriptor, w_shape_, type, format, q.k, q.c, q.r, q.r);
    CUDNN(cudnnSetConvolution2dDescriptor, convolution_, 0, 0, q.stride, q.stride, 1, 1,
          CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
    CUDNN(cudnnSetConvolutionMathType, convolution_,
          q.math == "fp32" ? CUDNN_FMA_MATH : CUDNN_DEFAULT_MATH);
    // Seeds: 1 bottom, 2 weight, 3 top_diff.
    x_.fill(q.is_transposed ? 3 : 1);
    w_.fill(2);
    y_.fill(q.is_transposed ? 1 : 3);
  }

  ~Problem() {
    lib.cudnnDestroyTensorDescriptor(x_shape_);
    lib.cudnnDestroyTensorDescriptor(y_shape_);
    lib.cudnnDestroyFilterDescriptor(w_shape_);
    lib.cudnnDestroyConvolutionDescriptor(convolution_);
  }

  // Tries every algorithm and keeps the fastest. False if none can do this.
  bool find(void* workspace) {
    switch (q_.pass) {
      case Pass::kForward:
        return keep_best<cudnnConvolutionFwdAlgoPerf_t>([&](int most, int* count, auto* found) {
          return lib.cudnnFindConvolutionForwardAlgorithmEx(
              handle_, x_shape_, x_.data(), w_shape_, w_.data(), convolution_, y_shape_, y_.data(),
              most, count, found, workspace, kWorkspace);
        });
      case Pass::kBackwardData:
        return keep_best<cudnnConvolutionBwdDataAlgoPerf_t>([&](int most, int* count, auto* found) {
          return lib.cudnnFindConvolutionBackwardDataAlgorithmEx(
              handle_, w_shape_, w_.data(), y_shape_, y_.data(), convolution_, x_shape_, x_.data(),
              most, count, found, workspace, kWorkspace);
        });
      case Pass::kBackwardWeights:
        break;
    }
    return keep_best<cudnnConvolutionBwdFilterAlgoPerf_t>([&](int most, int* count, auto* found) {
      return lib.cudnnFindConvolutionBackwardFilterAlgorithmEx(
          handle_, x_shape_, x_.data(), y_shape_, y_.data(), convolution_, w_shape_, w_.data(),
          most, count, found, workspace, kWorkspace);
    });
  }

  void run(void* workspace) const {
    const float one = 1, zero = 0;
    switch (q_.pass) {
      case Pass::kForward:
        CUDNN(cudnnConvolutionForward, handle_, &one, x_shape_, x_.data(), w_shape_, w_.data(),
              convolution_, static_cast<cudnnConvolutionFwdAlgo_t>(algorithm_), workspace,
              workspace_bytes_, &zero, y_shape_, y_.data());
        return;
      case Pass::kBackwardData:
        CUDNN(cudnnConvolutionBackwardData, handle_, &one, w_shape_, w_.data(), y_shape_, y_.data(),
              convolution_, static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm_), workspace,
              workspace_bytes_, &zero, x_shape_, x_.data());
        return;
      case Pass::kBackwardWeights:
        break;
    }
    CUDNN(cudnnConvolutionBackwardFilter, handle_, &one, x_shape_, x_.data(), y_shape_, y_.data(),
          convolution_, static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm_), workspace,
          workspace_bytes_, &zero, w_shape_, w_.data());
  }

  float milliseconds() const { return milliseconds_; }  // of the fastest, as cuDNN measured it

  void describe(std::ostream& out) const {
    const Operand& result = q_.pass == Pass::kForward        ? y_
                            : q_.pass == Pass::kBackwardData ? x_
                                                             : w_;
    out << "{\"algorithm\": " << algorithm_ << ", \"layout\": \"" << (is_nhwc_ ? "NHWC" : "NCHW")
        << "\", \"workspace\": " << workspace_bytes_
        << ", \"repeats\": " << (is_deterministic_ ? "true" : "false") << ", \"sample\": [";
    const char* comma = "";
    for (const float value : result.sample()) {
      out << comma << value;
      comma = ", ";
    }
    out << "]}";
  }

 private:
  const char* order() const { return is_nhwc_ ? kChannelsLast : kChannelsFirst; }

  template <class Performance, class Find>
  bool keep_best(const Find& find) {
    Performance found[32];
    int count = 0;
    if (find(32, &count, found) != CUDNN_STATUS_SUCCESS) return false;
    for (int i = 0; i < count; ++i) {  // the fastest comes first
      if (found[i].status != CUDNN_STATUS_SUCCESS || found[i].memory > kWorkspace) continue;
      // Find may offer a math that was not asked for, among them float32 rounded to 16 bits.
      if (q_.math == "fp32" && found[i].mathType != CUDNN_FMA_MATH) continue;
      if (found[i].mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION) continue;
      CUDNN(cudnnSetConvolutionMathType, convolution_, found[i].mathType);
      algorithm_ = static_cast<int>(found[i].algo);
      workspace_bytes_ = found[i].memory;
      milliseconds_ = found[i].time;
      is_deterministic_ = found[i].determinism == CUDNN_DETERMINISTIC;
      return true;
    }
    return false;
  }

  const Library& lib;
  const cudnnHandle_t handle_;
  const Request q_;
  const bool is_nhwc_, is_bf16_;
  Operand x_, w_, y_;
  cudnnTensorDescriptor_t x_shape_ = nullptr, y_shape_ = nullptr;
  cudnnFilterDescriptor_t w_shape_ = nullptr;
  cudnnConvolutionDescriptor_t convolution_ = nullptr;
  int algorithm_ = -1;
  std::size_t workspace_bytes_ = 0;
  float milliseconds_ = 0;
  bool is_deterministic_ = false;
};

class Peer {
 public:
  Peer(const char* path, int gpu) : lib(path) {
    CUDA(cudaSetDevice(gpu));
    gpu_ = gpu;
    CUDNN(cudnnCreate, &handle_);
    CUDA(cudaStreamCreate(&stream_));
    CUDNN(cudnnSetStream, handle_, stream_);
    workspace_ = std::make_unique<DeviceBuffer>(kWorkspace);
    flushed_ = std::make_unique<DeviceBuffer>(kFlushed);
  }

  void facts(std::ostream& out) const {
    cudaDeviceProp properties;
    int runtime = 0, driver = 0;
    CUDA(cudaGetDeviceProperties(&properties, gpu_));
    CUDA(cudaRuntimeGetVersion(&runtime));
    CUDA(cudaDriverGetVersion(&driver));
    out << "{\"device\": \"" << properties.name << "\", \"cudnn\": " << lib.cudnnGetVersion()
        << ", \"runtime\": " << runtime << ", \"driver\": " << driver << "}";
  }

  void prepare(const Request& request, std::ostream& out) {
    best_.reset();
    for (const bool is_nhwc : {true, false}) {
      auto problem = std::make_unique<Problem>(lib, handle_, request, is_nhwc);
      if (!problem->find(workspace_->data)) continue;
      if (!best_ || problem->milliseconds() < best_->milliseconds()) best_ = std::move(problem);
    }
    if (!best_) throw std::runtime_error("cuDNN has no algorithm for this");
    best_->run(workspace_->data);
    CUDA(cudaStreamSynchronize(stream_));
    best_->describe(out);
  }

  void time(int repeats, std::ostream& out) {
    if (!best_) throw std::runtime_error("nothing is prepared");
    std::vector<cudaEvent_t> events(2 * repeats);
    for (cudaEvent_t& event : events) CUDA(cudaEventCreate(&event));
    best_->run(workspace_->data);
    for (int i = 0; i < repeats; ++i) {
      CUDA(cudaMemsetAsync(flushed_->data, 0, kFlushed, stream_));
      CUDA(cudaEventRecord(events[2 * i], stream_));
      best_->run(workspace_->data);
      CUDA(cudaEventRecord(events[2 * i + 1], stream_));
    }
    CUDA(cudaStreamSynchronize(stream_));
    out << "[";
    for (int i = 0; i < repeats; ++i) {
      float milliseconds = 0;
      CUDA(cudaEventElapsedTime(&milliseconds, events[2 * i], events[2 * i + 1]));
      out << (i ? ", " : "") << milliseconds;
    }
    out << "]";
    for (cudaEvent_t event : events) cudaEventDestroy(event);
  }

 private:
  const Library lib;
  int gpu_ = 0;
  cudnnHandle_t handle_ = nullptr;
  cudaStream_t stream_ = nullptr;
  std::unique_ptr<DeviceBuffer> workspace_, flushed_;
  std::unique_ptr<Problem> best_;
};

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out + "\"";
}

void answer(Peer& peer, const std::string& line, std::ostream& out) {
  std::istringstream words(line);
  std::string verb;
  words >> verb;
  if (verb == "facts") return peer.facts(out);
  if (verb == "prepare") return peer.prepare(parse(words), out);
  int repeats = 0;
  if (verb == "time" && words >> repeats && repeats > 0) return peer.time(repeats, out);
  throw std::runtime_error("a request that is none");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: cudnn LIBCUDNN GPU, or cudnn LIBCUDNN version\n";
    return 2;
  }
  std::unique_ptr<Peer> peer;
  try {
    if (argv[2] == std::string("version")) {
      std::cout << Library(argv[1]).cudnnGetVersion() << std::endl;
      return 0;
    }
    peer = std::make_unique<Peer>(argv[1], std::stoi(argv[2]));
  } catch (const std::exception& error) {
    std::cout << "{\"error\": " << quoted(error.what()) << "}" << std::endl;
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::ostringstream out;
    out.precision(9);
    try {
      answer(*peer, line, out);
    } catch (const std::exception& error) {
      out.str("");
      out << "{\"error\": " << quoted(error.what()) << "}";
    }
    std::cout << out.str() << std::endl;
  }
}
