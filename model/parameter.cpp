#include "model/parameter.h"

#include "core/transfer.h"
#include "kernels/launch/cpu/parallel.h"

namespace tessera {
namespace {

template <class T>
void fill(Context& ctx, const Parameter& parameter, const Philox& random) {
  const Tensor& value = parameter.value();
  std::vector<T> staged(is_host_readable(value.device()) ? 0 : size_t(value.elements()));
  T* data = staged.empty() ? value.data<T>() : staged.data();
  constexpr int64_t kGrain = 4096;
  parallel_for(ctx.threads(), value.elements(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const bool random_value = parameter.init_std > 0;
      data[i] = from_float<T>(random_value ? float(random.normal(uint64_t(i)) * parameter.init_std)
                                           : parameter.init_value);
    }
  });
  if (!staged.empty()) upload(value, staged.data());
}

}  // namespace

void initialize(Context& ctx, const std::vector<Parameter>& parameters, uint64_t seed) {
  if (ctx.is_meta()) return;
  for (const Parameter& parameter : parameters) {
    const Philox random(seed, purpose_id("init/" + parameter.name), 0);
    dispatch_compute("initialize", parameter.value().dtype(),
                     [&]<class T>() { fill<T>(ctx, parameter, random); });
  }
}

int64_t parameter_count(const std::vector<Parameter>& parameters) {
  int64_t count = 0;
  for (const Parameter& parameter : parameters) count += parameter.value().elements();
  return count;
}

}  // namespace tessera
