# Kernels in .cu files, each compiled for every GPU device of the build; see
# docs/architecture/devices.md.
#
# tessera_gpu_sources(NAME [FILES a.cu ...] [SM80 b.cu ...] [SM90 c.cu ...]): adds kernels to
#   library NAME:
#   - by g++ for the emulator (TESSERA_SIMT), object library NAME_simt;
#   - by nvcc (TESSERA_HAS_CUDA), object library NAME_cuda: FILES for sm_75, sm_80 and sm_90a, with
#     PTX of sm_80 for newer GPUs; SM80 files, which need its shared memory or instructions, not for
#     sm_75; SM90 files, which use Hopper's instructions, for sm_90a alone;
#   - by g++ with race instrumentation, object library NAME_race, built only for race tests;
#   - by g++ with AddressSanitizer, object library NAME_asan, built only for its tests.
#   NAME's own sources get TESSERA_WITH_SIMT and TESSERA_WITH_CUDA, for
#   kernels/launch/gpu/dispatch.h.
# tessera_race_test(NAME SOURCES ... [LINK ...] RACE library ...): the tests of SOURCES for device
#   simt (their names end in /simt) and of suites named ...Race, once more, with the instrumented
#   kernels of the libraries after RACE. They come before the libraries in the link, so that the
#   linker takes no other copies.
# tessera_asan_test(NAME SOURCES ... [LINK ...] ASAN library ...): tests with kernels that
#   AddressSanitizer and UndefinedBehaviorSanitizer watch, in a build that is otherwise without.
#   Instances named Cases run only when the program is called without ctest.

option(TESSERA_SIMT "the simt device: kernels on the CPU, by an emulator" ${TESSERA_TESTS})

set(TESSERA_NVCC_FLAGS --expt-relaxed-constexpr -Xptxas=-v -Xcompiler=-Wall,-Wextra
    -DFMT_USE_CONSTEXPR=1)  # fmt 9 distrusts nvcc
# All of a line's errors end the program; -O1 compiles in half the time.
set(TESSERA_ASAN_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer -O1 -g1)
set(TESSERA_SM75 -gencode=arch=compute_75,code=sm_75)
set(TESSERA_SM80 -gencode=arch=compute_80,code=[sm_80,compute_80])
set(TESSERA_SM90 -gencode=arch=compute_90a,code=sm_90a)

# Appends to `result` files that include the .cu files and end in .cpp, which is what makes g++ take
# them: a source's language is the same for all targets of a folder. They tell the emulator for
# which GPUs nvcc compiles them: sm_`architecture` and newer.
function(tessera_host_sources result architecture)
  set(wrappers ${${result}})
  foreach(file IN LISTS ARGN)
    get_filename_component(path ${file} ABSOLUTE)
    file(RELATIVE_PATH relative ${PROJECT_SOURCE_DIR} ${path})
    set(wrapper ${PROJECT_BINARY_DIR}/simt/${relative}.cpp)
    file(CONFIGURE OUTPUT ${wrapper} CONTENT
         "#define TESSERA_CODE_ARCHITECTURE ${architecture}\n#include \"${relative}\"\n")
    list(APPEND wrappers ${wrapper})
  endforeach()
  set(${result} ${wrappers} PARENT_SCOPE)
endfunction()

# Kernels are made to fit the registers as ptxas of CUDA 13 counts them; that of 12.4 spills 8 bytes
# in three.
set(TESSERA_NVCC_GATE_OPTIONS "")
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.0)
  set(TESSERA_NVCC_GATE_OPTIONS --warn)
endif()

# nvcc's objects of FILES for the architectures in ARGN, as object library `name`, behind the gate
# that fails on spills.
function(tessera_nvcc_objects name files)
  add_library(${name} OBJECT ${files})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE TESSERA_GPU_DEVICE=::tessera::Device::cuda)
  target_compile_options(${name} PRIVATE ${TESSERA_NVCC_FLAGS} ${ARGN})
  # The last element is the user's launcher, if there is one.
  set(launcher ${PROJECT_SOURCE_DIR}/cmake/nvcc_gate.sh ${TESSERA_NVCC_GATE_OPTIONS}
      ${CMAKE_CUDA_COMPILER_LAUNCHER})
  set_target_properties(${name} PROPERTIES
    CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF CUDA_ARCHITECTURES OFF
    CUDA_COMPILER_LAUNCHER "${launcher}")
endfunction()

function(tessera_gpu_sources name)
  cmake_parse_arguments(ARG "" "" "FILES;SM80;SM90" ${ARGN})
  set(host_sources "")
  tessera_host_sources(host_sources 75 ${ARG_FILES})
  tessera_host_sources(host_sources 80 ${ARG_SM80})
  tessera_host_sources(host_sources 90 ${ARG_SM90})
  if(TESSERA_SIMT)
    add_library(${name}_simt OBJECT ${host_sources})
    target_link_libraries(${name}_simt PRIVATE tessera_options)
    add_library(${name}_race OBJECT EXCLUDE_FROM_ALL ${host_sources})
    target_link_libraries(${name}_race PRIVATE fmt::fmt)
    target_include_directories(${name}_race PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_options(${name}_race PRIVATE -fsanitize=thread -g1)
    add_library(${name}_asan OBJECT EXCLUDE_FROM_ALL ${host_sources})
    target_link_libraries(${name}_asan PRIVATE fmt::fmt)
    target_include_directories(${name}_asan PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_options(${name}_asan PRIVATE ${TESSERA_ASAN_FLAGS})
    foreach(objects ${name}_simt ${name}_race ${name}_asan)
      target_compile_definitions(${objects} PRIVATE TESSERA_GPU_DEVICE=::tessera::Device::simt)
      target_compile_options(${objects} PRIVATE -Wno-unknown-pragmas -Wno-psabi)
    endforeach()
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:${name}_simt>)
    target_compile_definitions(${name} PRIVATE TESSERA_WITH_SIMT)
    target_link_libraries(${name} PUBLIC tessera_simt)
  endif()
  if(TESSERA_HAS_CUDA)
    if(ARG_FILES)
      tessera_nvcc_objects(${name}_cuda "${ARG_FILES}" ${TESSERA_SM75} ${TESSERA_SM80}
                            ${TESSERA_SM90})
      target_sources(${name} PRIVATE $<TARGET_OBJECTS:${name}_cuda>)
    endif()
    if(ARG_SM80)
      tessera_nvcc_objects(${name}_cuda_sm80 "${ARG_SM80}" ${TESSERA_SM80} ${TESSERA_SM90})
      target_sources(${name} PRIVATE $<TARGET_OBJECTS:${name}_cuda_sm80>)
    endif()
    if(ARG_SM90)
      tessera_nvcc_objects(${name}_cuda_sm90 "${ARG_SM90}" ${TESSERA_SM90})
      target_sources(${name} PRIVATE $<TARGET_OBJECTS:${name}_cuda_sm90>)
    endif()
    target_compile_definitions(${name} PRIVATE TESSERA_WITH_CUDA)
    target_link_libraries(${name} PUBLIC tessera_launch_cuda)
  endif()
endfunction()

function(tessera_race_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;RACE" ${ARGN})
  if(NOT TESSERA_SIMT OR TESSERA_SANITIZE)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  foreach(library IN LISTS ARG_RACE)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:${library}_race>)
  endforeach()
  target_link_libraries(${name} PRIVATE tessera_options ${ARG_LINK} tessera_simt_race_hooks
                                        GTest::gtest_main)
  gtest_discover_tests(${name} TEST_PREFIX race. TEST_FILTER */simt:*/simt/*:*Race.*
                       DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 600 LABELS race)
endfunction()

function(tessera_asan_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;ASAN" ${ARGN})
  if(NOT TESSERA_SIMT)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES} $<TARGET_OBJECTS:tessera_simt_asan>)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  foreach(library IN LISTS ARG_ASAN)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:${library}_asan>)
  endforeach()
  target_compile_options(${name} PRIVATE ${TESSERA_ASAN_FLAGS} -Wno-unknown-pragmas)
  target_link_options(${name} PRIVATE -fsanitize=address,undefined)
  target_link_libraries(${name} PRIVATE tessera_options ${ARG_LINK} GTest::gtest_main)
  gtest_discover_tests(${name} TEST_PREFIX asan. TEST_FILTER -Cases/* DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT 600 LABELS asan)
endfunction()
