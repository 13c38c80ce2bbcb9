# tessera_library(NAME SOURCES ... [LINK ...]): a static library target of one folder.
# tessera_isa_sources(NAME [BF16] FILES ...): adds FILES to library NAME once per instruction-set
#   level; every copy is compiled with TESSERA_ISA set to its level, a value of tessera::Isa.
# tessera_program(NAME SOURCES ... [LINK ...]): an executable in build/bin.
# tessera_test(NAME SOURCES ... [LINK ...] [LABELS ...]): a GoogleTest program, one ctest entry a
#   case; those whose name ends in /cuda have label gpu instead.

add_library(tessera_options INTERFACE)
target_include_directories(tessera_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(tessera_options INTERFACE -Wall -Wextra -Wshadow=local
                       -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
  # False alarms of GCC 13: references into what a temporary only views, and fmt 9's own copies.
  target_compile_options(tessera_options INTERFACE
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-dangling-reference -Wno-array-bounds
                                 -Wno-stringop-overflow>)
endif()
target_link_libraries(tessera_options INTERFACE fmt::fmt OpenMP::OpenMP_CXX Threads::Threads)
if(TESSERA_SANITIZE)
  target_compile_options(tessera_options INTERFACE -fsanitize=address,undefined
                         -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(tessera_options INTERFACE -fsanitize=address,undefined)
endif()

function(tessera_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC tessera_options ${ARG_LINK})
endfunction()

set(TESSERA_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi2)
set(TESSERA_ISA_FLAGS_avx512 ${TESSERA_ISA_FLAGS_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl
    -mprefer-vector-width=512)
set(TESSERA_ISA_FLAGS_avx512_bf16 ${TESSERA_ISA_FLAGS_avx512} -mavx512bf16)

function(tessera_isa_sources name)
  cmake_parse_arguments(ARG "BF16" "" "FILES" ${ARGN})
  set(levels avx2 avx512)
  if(ARG_BF16)
    list(APPEND levels avx512_bf16)
  endif()
  foreach(level IN LISTS levels)
    add_library(${name}_${level} OBJECT ${ARG_FILES})
    target_link_libraries(${name}_${level} PRIVATE tessera_options)
    target_compile_definitions(${name}_${level} PRIVATE TESSERA_ISA=::tessera::Isa::${level})
    target_compile_options(${name}_${level} PRIVATE ${TESSERA_ISA_FLAGS_${level}} -O3)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:${name}_${level}>)
  endforeach()
endfunction()

function(tessera_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE tessera_options ${ARG_LINK})
  # A main only reads its command line; -O3 would spend 4 s each on CLI11's inline functions.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

function(tessera_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE tessera_options ${ARG_LINK} GTest::gtest_main)
  # References that take time are libraries of tests/support; -O3 would spend a third more here.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  gtest_discover_tests(${name} TEST_FILTER -*/cuda:*/cuda/* TEST_LIST ${name}_host_tests
                       DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 600 LABELS "${ARG_LABELS}")
  if(TESSERA_HAS_CUDA)
    gtest_discover_tests(${name} TEST_FILTER */cuda:*/cuda/* TEST_LIST ${name}_gpu_tests
                         DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 600 LABELS gpu
                         RESOURCE_LOCK gpu)
  endif()
endfunction()
if(TESSERA_TESTS)
  include(GoogleTest)
endif()
