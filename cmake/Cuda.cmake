# The `cuda` device: TESSERA_CUDA=AUTO uses the toolkit where nvcc is found, ON requires it, OFF
# leaves it out. Sets TESSERA_HAS_CUDA, and TESSERA_HAS_CUBLASLT where cuBLASLt is there too.
# A program built with CUDA starts on machines without a driver: cudart is linked statically, and
# the driver is reached through it alone.
set(TESSERA_CUDA AUTO CACHE STRING "the cuda device: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE TESSERA_CUDA PROPERTY STRINGS AUTO ON OFF)
set(TESSERA_HAS_CUDA OFF)
set(TESSERA_HAS_CUBLASLT OFF)

if(TESSERA_CUDA)
  find_program(TESSERA_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_PATH PATHS /usr/local/cuda
               PATH_SUFFIXES bin)
  if(TESSERA_NVCC)
    set(CMAKE_CUDA_COMPILER ${TESSERA_NVCC} CACHE FILEPATH "the CUDA compiler")
    set(CMAKE_CUDA_ARCHITECTURES OFF CACHE STRING "set per file: see TesseraGpu.cmake")
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 knows nvcc up to C++17
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit 12.4 REQUIRED)
    set(TESSERA_HAS_CUDA ON)
    message(STATUS "cuda: ${TESSERA_NVCC} ${CUDAToolkit_VERSION}")
    find_library(TESSERA_CUDNN_LIBRARY NAMES libcudnn.so.9 HINTS ${CUDAToolkit_LIBRARY_DIR}
                 ${CUDAToolkit_LIBRARY_ROOT} PATH_SUFFIXES lib lib64)
    if(NOT TESSERA_CUDNN_LIBRARY)
      message(STATUS "cuda: no cuDNN here: attention.backend cudnn will look for it at run time")
    endif()
    if(TARGET CUDA::cublasLt)
      set(TESSERA_HAS_CUBLASLT ON)
    else()
      message(STATUS "cuda: no cuBLASLt (libcublas-dev): matrix products on cuda are left out")
    endif()
  elseif(TESSERA_CUDA STREQUAL "AUTO")
    message(STATUS "cuda: no nvcc in PATH, CUDACXX, CUDA_PATH or /usr/local/cuda/bin: the cuda "
                   "device is left out")
  else()
    message(FATAL_ERROR "TESSERA_CUDA=${TESSERA_CUDA} needs nvcc: add it to PATH, set CUDACXX to "
                        "it, or configure with -DTESSERA_CUDA=OFF")
  endif()
endif()
