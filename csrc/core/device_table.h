// What a device offers beside the ops is a table of functions, with a twin for each way to run the
// kernels of cuda/. UNET_DEVICE_TABLE(DeviceGraphs, device_graphs) declares
//
//   unet::cuda::device_graphs and its twins, null where the build has none
//   const DeviceGraphs* find_device_graphs(Device)   the right one, null if there is none
//   const DeviceGraphs& device_graphs(Device)        the same; throws std::runtime_error instead
#pragma once

#include "core/context.h"
#include "core/error.h"

#define UNET_DEVICE_TABLE(Table, table)                                     \
  namespace cuda {                                                          \
  extern const Table table __attribute__((weak));                           \
  }                                                                         \
  namespace cuda_simt {                                                     \
  extern const Table table __attribute__((weak));                           \
  }                                                                         \
  namespace cuda_simt_checked {                                             \
  extern const Table table __attribute__((weak));                           \
  }                                                                         \
  inline const Table* find_##table(Device device) {                         \
    const Table* const twins[] = {nullptr, &cuda::table, &cuda_simt::table, \
                                  &cuda_simt_checked::table};               \
    return twins[static_cast<int>(device)];                                 \
  }                                                                         \
  inline const Table& table(Device device) {                                \
    const Table* const found = find_##table(device);                        \
    if (found == nullptr) fail_no_device(device);                           \
    return *found;                                                          \
  }                                                                         \
  static_assert(true, "UNET_DEVICE_TABLE needs a semicolon")
