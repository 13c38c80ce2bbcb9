// Where the race checks learn of the ordinary loads and stores of instrumented kernels.
#pragma once

#include <cstddef>

namespace tessera::simt {

// `align` is what the instruction needs, `code` the address after it.
void on_memory_access(const void* p, size_t bytes, size_t align, bool writes, const void* code);

}  // namespace tessera::simt
