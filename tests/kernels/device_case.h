// What the tests of op families share about devices beyond op_case.h.
#pragma once

#include <string>
#include <vector>

#include "tests/kernels/op_case.h"
#include "tests/support/compare.h"

namespace tessera::test {

// Calls body(ctx) on the device: on cpu for every instruction-set level, with 1 and with 2 threads.
template <class Body>
void on_all_levels(Device device, const Body& body) {
  if (device != Device::cpu) {
    Context ctx = device_context(device);
    return body(ctx);
  }
  for (const Isa isa : machine_isas()) {
    for (const int threads : {1, 2}) {
      SCOPED_TRACE(fmt::format("isa {} threads {}", int(isa), threads));
      Context ctx = cpu_context(isa, threads);
      body(ctx);
    }
  }
}

// Adds to the emulator's options ("architecture=75") of contexts made meanwhile.
class EmulatorOptions {
 public:
  explicit EmulatorOptions(const std::string& options);
  ~EmulatorOptions();
  EmulatorOptions(const EmulatorOptions&) = delete;
  EmulatorOptions& operator=(const EmulatorOptions&) = delete;

 private:
  std::string before_;
};
struct EmulatorSeed : EmulatorOptions {
  explicit EmulatorSeed(int seed);
};

// Whether run(ctx), which returns tensors, gives the same bits three times: on simt with seeds 1, 2
// and 3, on cpu with 1, 2 and 3 threads.
::testing::AssertionResult is_reproducible(Device device,
                                           const std::function<std::vector<Tensor>(Context&)>& run);

// As make_tensor, in memory that is aligned to one element only.
Tensor make_unaligned(Context& ctx, const Shape& shape, DType dtype, const Vec& values);

}  // namespace tessera::test
