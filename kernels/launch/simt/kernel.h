// A kernel with its arguments.
#pragma once

namespace tessera::simt {

// run(arguments) is what each thread does.
struct Kernel {
  void (*run)(const void* arguments);
  const void* arguments;
};

}  // namespace tessera::simt
