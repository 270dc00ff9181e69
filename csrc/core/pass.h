// The passes of an op with parameters.
#pragma once

namespace unet {

enum class Pass { kForward, kBackwardData, kBackwardWeights };

}  // namespace unet
