#include "kernels/launch/cpu/isa.h"

#include "core/check.h"

namespace tessera {

bool isa_supported(Isa isa) {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::avx2:
      return avx2;
    case Isa::avx512:
      return avx512;
    case Isa::avx512_bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
  }
  return false;
}

Isa best_isa() {
  check(
      isa_supported(Isa::avx2),
      "cpu: this processor lacks AVX2, FMA, F16C or BMI2; the CPU kernels need x86-64-v3 or later");
  Isa best = Isa::avx2;
  for (Isa isa : kIsas) {
    if (isa_supported(isa)) best = isa;
  }
  return best;
}

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
  }
  return "unknown";
}

Isa parse_isa(std::string_view name) {
  for (Isa isa : kIsas) {
    if (isa_name(isa) != name) continue;
    check(isa_supported(isa), "cpu: instruction set '{}' is not supported here; the best is '{}'",
          name, isa_name(best_isa()));
    return isa;
  }
  fail("cpu: unknown instruction set '{}'; use avx2, avx512 or avx512_bf16", name);
}

}  // namespace tessera
