// The names by which Python calls the regularizations.
#pragma once

#include <string>

#include "core/error.h"
#include "ops/regularization.h"

namespace unet {

inline Regularization regularization_from_name(const char* op, const std::string& name) {
  if (name == "L2") return Regularization::kL2;
  if (name == "L1") return Regularization::kL1;
  fail(op, "unknown regularization \"" + name + "\": use \"L2\" or \"L1\"");
}

}  // namespace unet
