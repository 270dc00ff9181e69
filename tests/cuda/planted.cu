// Kernels with what the gates of test_cuda_static.py are there to find, and one without.

// Indexed by what only the caller knows: the array cannot live in registers.
__global__ void local_array(const float* x, const int* order, float* y) {
  float values[64];
  for (int i = 0; i < 64; ++i) values[i] = x[64 * threadIdx.x + i];
  float sum = 0;
  for (int i = 0; i < 64; ++i) sum = 2 * sum + values[order[i] & 63];
  y[threadIdx.x] = sum;
}

// 96 sums, for which two blocks of 1024 threads leave 32 registers.
__global__ void __launch_bounds__(1024, 2) spill(const float* x, float* y, int steps) {
  float sums[96] = {};
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int i = 0; i < 96; ++i) sums[i] += x[step] * x[step + i];
  }
#pragma unroll
  for (int i = 0; i < 96; ++i) y[96 * threadIdx.x + i] = sums[i];
}

// One multiply-add for each load.
__global__ void few_multiply_adds(const float* x, float* y, int steps) {
  float sum = 0;
  for (int step = 0; step < steps; ++step) sum += x[32 * step + threadIdx.x] * y[step];
  y[threadIdx.x] = sum;
}

// 40 KB a block: one on a multiprocessor of 64 KB, two on one of 100.
__global__ void much_shared(const float* x, float* y) {
  __shared__ float values[10240];
  for (int i = threadIdx.x; i < 10240; i += blockDim.x) values[i] = x[i];
  __syncthreads();
  y[threadIdx.x] = values[10239 - threadIdx.x];
}

// 64 multiply-adds on 16 loads.
__global__ void __launch_bounds__(128) many_multiply_adds(const float* x, float* y, int steps) {
  float sums[8][8] = {};
  __shared__ float a[8][128], b[8][128];
  for (int step = 0; step < steps; ++step) {
    float p[8], q[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      p[i] = a[i][(threadIdx.x + step) & 127];
      q[i] = b[i][(threadIdx.x + step) & 127];
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) sums[i][j] += p[i] * q[j];
    }
  }
#pragma unroll
  for (int i = 0; i < 64; ++i) y[64 * threadIdx.x + i] = sums[i / 8][i % 8];
}
