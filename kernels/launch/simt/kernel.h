// A kernel with its arguments.
#pragma once

namespace tessera::simt {

// run(arguments) is what each thread does. nvcc compiles the kernel for sm_`architecture` and
// newer.
struct Kernel {
  void (*run)(const void* arguments);
  const void* arguments;
  int architecture;
};

}  // namespace tessera::simt
