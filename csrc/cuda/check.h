// Errors of the CUDA runtime become exceptions that say which call failed, and where.
#pragma once

#include <string>

#include "core/context.h"
#include "core/error.h"
#include "cuda/language.h"

namespace unet::UNET_GPU {
namespace {

inline void check(cudaError_t error, const char* expression, const char* file, int line) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // errors that a call may recover from are forgotten
  throw CudaError(std::string(cudaGetErrorName(error)) + " (" + cudaGetErrorString(error) +
                  ") in " + expression + ", " + file + ":" + std::to_string(line));
}

inline cudaStream_t stream_of(const Context& ctx) { return static_cast<cudaStream_t>(ctx.stream); }

}  // namespace
}  // namespace unet::UNET_GPU

#define UNET_CUDA(expression) check(expression, #expression, __FILE__, __LINE__)
