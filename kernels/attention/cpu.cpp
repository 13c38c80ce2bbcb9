#include "kernels/attention/cpu.h"

#include "kernels/attention/cpu_layout.h"

namespace tessera {

size_t attention_forward_workspace(const AttentionProblem& problem, int threads, Isa isa) {
  const ElementFormat format = element_format(problem.dtype, isa);
  Arena shared(nullptr), scratch(nullptr);
  PackedKeys(shared, problem, format, threads);
  ForwardScratch(scratch, problem, format);
  return shared.used() + scratch.used() * size_t(threads);
}

size_t attention_backward_workspace(const AttentionProblem& problem, int threads, Isa isa) {
  const ElementFormat format = element_format(problem.dtype, isa);
  Arena shared(nullptr), scratch(nullptr);
  QueryGradients(shared, problem, format, threads);
  BackwardScratch(scratch, problem, format);
  return shared.used() + scratch.used() * size_t(threads);
}

void attention_forward_cpu(const AttentionForwardCpu& args, int threads, Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return attention_forward_isa<Isa::avx2>(args, threads);
    case Isa::avx512:
      return attention_forward_isa<Isa::avx512>(args, threads);
    case Isa::avx512_bf16:
      return attention_forward_isa<Isa::avx512_bf16>(args, threads);
  }
}

void attention_backward_cpu(const AttentionBackwardCpu& args, int threads, Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return attention_backward_isa<Isa::avx2>(args, threads);
    case Isa::avx512:
      return attention_backward_isa<Isa::avx512>(args, threads);
    case Isa::avx512_bf16:
      return attention_backward_isa<Isa::avx512_bf16>(args, threads);
  }
}

}  // namespace tessera
