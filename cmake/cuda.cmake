# Which GPUs the kernels of csrc/cuda/ are compiled for. UNET_NATIVE_CUDA decides, on CMake's command
# line or else in the environment:
#
#   (unset)  the GPUs of this machine, where an nvcc is found and the driver answers
#   ON       every architecture below; without an nvcc the build fails
#   wheels   as ON, with the compiler that pyproject.toml then takes from the package index
#   OFF      none
#
# UNET_NATIVE_CUDA_ARCHITECTURES, where it is set, replaces the list, in CMake's notation: 90-real is
# machine code of sm_90, 120-virtual is PTX, from which a driver makes code for newer GPUs.
#
# Sets UNET_CUDA_ARCHITECTURES, or where there is nothing to compile UNET_CUDA_MISSING, which says
# why. CMake's language CUDA is enabled only in the first case.

foreach(name UNET_NATIVE_CUDA UNET_NATIVE_CUDA_ARCHITECTURES)
  if(NOT DEFINED ${name})
    set(${name} "$ENV{${name}}")
  endif()
endforeach()
option(UNET_NATIVE_CUDA_LINEINFO "Source lines for profilers, for twice the size" OFF)

set(UNET_CUDA_ARCHITECTURES "")
set(UNET_CUDA_MISSING "")
# sm_86, 87 and 89 run the code of sm_80, sm_103 that of sm_100, sm_121 that of sm_120.
set(every_architecture 75-real 80-real 90-real 100-real 120-real 120-virtual)

if(NOT UNET_NATIVE_CUDA MATCHES "^(ON|OFF|wheels|)$")
  message(FATAL_ERROR "UNET_NATIVE_CUDA is \"${UNET_NATIVE_CUDA}\": use ON, OFF or wheels, or unset it to "
    "build for the GPUs of this machine")
endif()

# The compiler.
if(UNET_NATIVE_CUDA STREQUAL "wheels")
  # Its parts lie below nvidia/cu13, which belongs to several packages and has no __file__.
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import nvidia.cu13; print(list(nvidia.cu13.__path__)[0])"
    OUTPUT_VARIABLE wheels OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT EXISTS "${wheels}/bin/nvcc")
    message(FATAL_ERROR "UNET_NATIVE_CUDA=wheels, but the packages of the compiler are not installed: "
      "build with pip, or install nvidia-cuda-nvcc, nvidia-nvvm, nvidia-cuda-crt, "
      "nvidia-cuda-runtime and nvidia-cuda-cccl ==13.0.*")
  endif()
  set(CMAKE_CUDA_COMPILER "${wheels}/bin/nvcc")
  # nvcc looks for the runtime in lib64, the packages have lib: said to CMake's trials, which know no
  # other way, and to the linker.
  set(ENV{NVCC_APPEND_FLAGS} "$ENV{NVCC_APPEND_FLAGS} -L${wheels}/lib")
  set(UNET_CUDA_LIBRARIES "${wheels}/lib")
elseif(NOT UNET_NATIVE_CUDA STREQUAL "OFF" AND NOT CMAKE_CUDA_COMPILER)
  find_program(UNET_NVCC NAMES "$ENV{CUDACXX}" nvcc
    HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(UNET_NVCC)
    set(CMAKE_CUDA_COMPILER "${UNET_NVCC}")
  endif()
endif()

# The architectures.
if(UNET_NATIVE_CUDA STREQUAL "OFF")
  set(UNET_CUDA_MISSING "UNET_NATIVE_CUDA was OFF")
elseif(NOT CMAKE_CUDA_COMPILER)
  if(UNET_NATIVE_CUDA)
    message(FATAL_ERROR "UNET_NATIVE_CUDA=ON, but no nvcc was found: put it on the PATH, or use "
      "UNET_NATIVE_CUDA=wheels to take it from the package index")
  endif()
  set(UNET_CUDA_MISSING "no nvcc was found")
elseif(UNET_NATIVE_CUDA)
  set(UNET_CUDA_ARCHITECTURES ${every_architecture})
else()
  # Capabilities such as "80;90", or the reason why there are none.
  execute_process(COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/gpus.py TIMEOUT 60
    OUTPUT_VARIABLE gpus ERROR_VARIABLE UNET_CUDA_MISSING
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_STRIP_TRAILING_WHITESPACE)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE known)
  foreach(gpu IN LISTS gpus)
    if(known MATCHES "compute_${gpu}\n")
      list(APPEND UNET_CUDA_ARCHITECTURES ${gpu}-real)
    else()
      set(UNET_CUDA_MISSING "this nvcc does not compile for sm_${gpu}, the GPU at hand")
    endif()
  endforeach()
  if(NOT UNET_CUDA_ARCHITECTURES AND NOT UNET_CUDA_MISSING)
    set(UNET_CUDA_MISSING "the NVIDIA driver did not answer")
  endif()
endif()
if(UNET_NATIVE_CUDA_ARCHITECTURES AND NOT UNET_CUDA_MISSING)
  set(UNET_CUDA_ARCHITECTURES ${UNET_NATIVE_CUDA_ARCHITECTURES})
endif()

if(UNET_CUDA_ARCHITECTURES)
  set(UNET_CUDA_MISSING "")
  set(CMAKE_CUDA_ARCHITECTURES ${UNET_CUDA_ARCHITECTURES})
  if(NOT CMAKE_CUDA_HOST_COMPILER AND NOT DEFINED ENV{CUDAHOSTCXX})
    set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}")
  endif()
  enable_language(CUDA)
  message(STATUS "CUDA: ${CMAKE_CUDA_COMPILER} ${CMAKE_CUDA_COMPILER_VERSION}, for ${UNET_CUDA_ARCHITECTURES}")
else()
  message(STATUS "CUDA: none, this build is for the CPU only: ${UNET_CUDA_MISSING}")
endif()
