// A library that says to be an old cuDNN.
#include <cstddef>

extern "C" size_t cudnnGetVersion() {
  return 90102;
}
