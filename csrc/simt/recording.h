// A record of launches: each kernel, its arguments, and the memory of the device before and after,
// so that a tool which executes the same kernel otherwise can be held against this runtime
// (tests/ptx/).
//
// The file is a sequence of launches. Each is, with numbers of 8 bytes (little endian) and strings
// and memory as a number of bytes followed by them:
//
//   module, offset          the file that holds the kernel's code, and where in it that begins
//   name                    as in findings
//   grid x y z, block x y z, bytes of dynamic shared memory
//   count, arguments        the bytes of each parameter
//   count, allocations      address, memory before, a byte for each of it that tells whether
//   anybody
//                           has written it (empty: unknown, without the checker), memory after
#pragma once

#include <string>

#include "simt/machine.h"

namespace unet::simt {

// From here on, launches are recorded in a file, which is begun anew; "" ends that. False: the file
// cannot be written.
bool record_launches(const std::string& path);

// Machine::run, recorded if that is asked for and the launch comes to its end.
bool run_recorded(const Launch& launch);

}  // namespace unet::simt
