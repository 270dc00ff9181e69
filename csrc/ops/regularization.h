// How weight decay pulls at a weight: in proportion to it (L2), or by its sign (L1).
// Source: Caffe sgd_solver.cpp, Regularize.
#pragma once

namespace unet {

enum class Regularization { kL2, kL1 };

}  // namespace unet
