#include "kernels/attention/cpu.h"

#include "kernels/attention/cpu_layout.h"
#include "kernels/launch/cpu/isa.h"

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
  dispatch_isa(isa, [&]<Isa level>() { attention_forward_isa<level>(args, threads); });
}

void attention_backward_cpu(const AttentionBackwardCpu& args, int threads, Isa isa) {
  dispatch_isa(isa, [&]<Isa level>() { attention_backward_isa<level>(args, threads); });
}

}  // namespace tessera
