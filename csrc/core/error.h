// Errors. What a user got wrong is checked in ops/ and thrown as std::invalid_argument, which
// Python sees as ValueError; what we got wrong is an assert. Nothing prints, exits or aborts.
#pragma once

#include <stdexcept>
#include <string>

#include "core/context.h"
#include "core/view.h"

namespace unet {

// Throws std::invalid_argument("<op>: <message>").
[[noreturn]] void fail(const char* op, const std::string& message);
// Throws std::runtime_error: the device cannot be used, or this build has no such kernel for it.
[[noreturn]] void fail_no_device(Device device);

// A call of the CUDA runtime that failed: which, where, and with what error.
struct CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string shape_string(int n, int c, int h, int w);  // "1x64x570x570"

template <class T>
std::string shape_string(const BasicView<T>& view) {
  return shape_string(view.n, view.c, view.h, view.w);
}

template <class T>
std::string shape_string(const BasicFilter<T>& filter) {
  return shape_string(filter.oc, filter.ic, filter.kh, filter.kw);
}

template <class A, class B>
bool same_shape(const BasicView<A>& a, const BasicView<B>& b) {
  return a.n == b.n && a.c == b.c && a.h == b.h && a.w == b.w;
}

// "<op>: <what> must have the shape of <other> (<what> 1x2x3x4, <other> 1x2x3x5)".
template <class A, class B>
void check_same_shape(const char* op, const char* what, const BasicView<A>& a, const char* other,
                      const BasicView<B>& b) {
  if (same_shape(a, b)) return;
  fail(op, std::string(what) + " must have the shape of " + other + " (" + what + " " +
               shape_string(a) + ", " + other + " " + shape_string(b) + ")");
}

}  // namespace unet
