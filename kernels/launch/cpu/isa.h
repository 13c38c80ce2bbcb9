// The instruction-set level that CPU kernels run at.
#pragma once

#include <string_view>

#include "core/isa.h"

namespace tessera {

inline constexpr Isa kIsas[] = {Isa::avx2, Isa::avx512, Isa::avx512_bf16};

// Whether this machine can run kernels of the level.
bool isa_supported(Isa isa);

// The highest level of this machine. Throws Error if it lacks even AVX2, FMA and F16C.
Isa best_isa();

std::string_view isa_name(Isa isa);

// The level called `name` ("avx2", "avx512" or "avx512_bf16"). Throws Error for another name or an
// unsupported level.
Isa parse_isa(std::string_view name);

// Calls body.template operator()<isa>() and returns its result.
template <class Body>
auto dispatch_isa(Isa isa, const Body& body) {
  switch (isa) {
    case Isa::avx512_bf16:
      return body.template operator()<Isa::avx512_bf16>();
    case Isa::avx512:
      return body.template operator()<Isa::avx512>();
    case Isa::avx2:
      break;
  }
  return body.template operator()<Isa::avx2>();
}

}  // namespace tessera
