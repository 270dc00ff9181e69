"""Prints the compute capabilities of this machine's GPUs for CMake, such as ``80;90``.

Where there are none, it says why on stderr. It asks the driver itself (cuda.h), since nvidia-smi is
missing in many containers.
"""

from __future__ import annotations

import ctypes
import sys

_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


def capabilities() -> list[int]:
    """One number for each kind of GPU, ascending. Raises OSError with the reason for none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise OSError("no NVIDIA driver was found") from None
    count = ctypes.c_int()
    error = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if error or not count.value:
        raise OSError(f"the NVIDIA driver has no GPU to offer (error {error})")
    found = set()
    for device in range(count.value):
        major, minor = ctypes.c_int(), ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
        driver.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
        found.add(10 * major.value + minor.value)
    return sorted(found)


if __name__ == "__main__":
    try:
        print(";".join(map(str, capabilities())))
    except OSError as reason:
        print(reason, file=sys.stderr)
