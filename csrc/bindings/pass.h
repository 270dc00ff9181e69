// Passes by their names in Python.
#pragma once

#include <string>

#include "core/error.h"
#include "core/pass.h"

namespace unet {

inline Pass pass_from_name(const char* op, const std::string& name) {
  if (name == "forward") return Pass::kForward;
  if (name == "backward_data") return Pass::kBackwardData;
  if (name == "backward_weights") return Pass::kBackwardWeights;
  fail(op, "unknown direction \"" + name +
               "\": use \"forward\", \"backward_data\" or \"backward_weights\"");
}

}  // namespace unet
