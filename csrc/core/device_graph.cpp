#include "core/device_graph.h"

#include "core/error.h"

namespace unet {

const DeviceGraphs& device_graphs(Device device) {
  const DeviceGraphs* const graphs[] = {nullptr, &cuda::device_graphs, &cuda_simt::device_graphs,
                                        &cuda_simt_checked::device_graphs};
  const DeviceGraphs* const found = graphs[static_cast<int>(device)];
  if (found == nullptr) fail_no_device(device);
  return *found;
}

}  // namespace unet
