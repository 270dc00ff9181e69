// Arrays on the GPU in either layout, with the numbers of operands.py in them.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}
#define CUDA(call) check(call, #call)

struct DeviceBuffer {
  explicit DeviceBuffer(std::size_t bytes) { CUDA(cudaMalloc(&data, bytes)); }
  ~DeviceBuffer() { cudaFree(data); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  void* data = nullptr;
};

// Element i of an array, in [-1, 1).
inline float hashed(std::uint32_t i, std::uint32_t seed) {
  std::uint32_t x = i + seed * 0x9E3779B9u;
  x = (x ^ x >> 16) * 0x85EBCA6Bu;
  x = (x ^ x >> 13) * 0xC2B2AE35u;
  x ^= x >> 16;
  return static_cast<float>(x >> 8) * (1.0f / (1 << 23)) - 1.0f;
}

inline std::uint16_t to_bf16(float value) {  // to the nearest, ties to even
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

inline float from_bf16(std::uint16_t half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// Calls function(place in `kept`, place in `order`) for each element of an array, in the order of
// `kept`. Orders name the four axes by their positions in `sizes`, the innermost last: "0231".
template <class Function>
void for_each_element(const std::vector<int>& sizes, const std::string& kept,
                      const std::string& order, const Function& function) {
  std::size_t stride[4], step = 1;
  for (int i = 3; i >= 0; --i) {
    const int axis = order[i] - '0';
    stride[axis] = step;
    step *= sizes[axis];
  }
  const int a = kept[0] - '0', b = kept[1] - '0', c = kept[2] - '0', d = kept[3] - '0';
  std::size_t place = 0;
  for (int i = 0; i < sizes[a]; ++i) {
    for (int j = 0; j < sizes[b]; ++j) {
      for (int k = 0; k < sizes[c]; ++k) {
        for (int l = 0; l < sizes[d]; ++l) {
          function(place++, i * stride[a] + j * stride[b] + k * stride[c] + l * stride[d]);
        }
      }
    }
  }
}

constexpr int kSampled = 256;  // elements of a result that are shown

// An array of four axes, which the project keeps in `kept` order and cuDNN wants in `order`. Axes
// are named by their position in (N, C, H, W) or (K, C, R, S).
class Operand {
 public:
  Operand(std::vector<int> sizes, const char* kept, const char* order, bool is_bf16)
      : sizes_(std::move(sizes)),
        kept_(kept),
        order_(order),
        is_bf16_(is_bf16),
        count_(static_cast<std::size_t>(sizes_[0]) * sizes_[1] * sizes_[2] * sizes_[3]),
        buffer_(count_ * width()) {}

  void* data() const { return buffer_.data; }

  void fill(std::uint32_t seed) {
    std::vector<char> host(count_ * width());
    each([&](std::size_t kept, std::size_t there) {
      const float value = hashed(static_cast<std::uint32_t>(kept), seed);
      if (is_bf16_) {
        reinterpret_cast<std::uint16_t*>(host.data())[there] = to_bf16(value);
      } else {
        reinterpret_cast<float*>(host.data())[there] = value;
      }
    });
    CUDA(cudaMemcpy(data(), host.data(), host.size(), cudaMemcpyHostToDevice));
  }

  // Elements of the project's array, as far apart as possible from each other.
  std::vector<float> sample() const {
    std::vector<char> host(count_ * width());
    CUDA(cudaMemcpy(host.data(), data(), host.size(), cudaMemcpyDeviceToHost));
    const std::size_t step = std::max<std::size_t>(1, count_ / kSampled);
    std::vector<float> found;
    each([&](std::size_t kept, std::size_t there) {
      if (kept % step != 0 || found.size() == kSampled) return;
      found.push_back(is_bf16_ ? from_bf16(reinterpret_cast<std::uint16_t*>(host.data())[there])
                               : reinterpret_cast<float*>(host.data())[there]);
    });
    return found;
  }

 private:
  std::size_t width() const { return is_bf16_ ? 2 : 4; }

  template <class Function>
  void each(const Function& function) const {
    for_each_element(sizes_, kept_, order_, function);
  }

  const std::vector<int> sizes_;
  const std::string kept_, order_;
  const bool is_bf16_;
  const std::size_t count_;
  const DeviceBuffer buffer_;
};

inline constexpr const char* kChannelsLast = "0231";  // N H W C, or K R S C
inline constexpr const char* kChannelsFirst = "0123";
