// Functions that a kernel of a GPU may call too.
#pragma once

#ifdef __CUDACC__
#define UNET_HOST_DEVICE __host__ __device__
#else
#define UNET_HOST_DEVICE
#endif
