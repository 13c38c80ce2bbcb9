// Loops on all cores whose bodies may throw.
#pragma once

#include <cstddef>
#include <exception>
#include <vector>

namespace tessera {

// Calls body(i) for i in [0, count) on all cores, in any order; rethrows the error of the lowest i.
template <class Body>
void parallel_for_each(size_t count, Body&& body) {
  std::vector<std::exception_ptr> errors(count);
#pragma omp parallel for schedule(dynamic)
  for (size_t i = 0; i < count; ++i) {
    try {
      body(i);
    } catch (...) {
      errors[i] = std::current_exception();
    }
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace tessera
