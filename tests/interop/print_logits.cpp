// print_logits MODEL N: the logits after each of N tokens, (5 + 7 i + i^2) mod vocabulary, as raw
// f32 on stdout.
#include <cstdio>
#include <exception>

#include "core/transfer.h"
#include "model/kv_cache.h"
#include "train/load_model.h"

namespace tessera {
namespace {

void print_logits(const char* path, int64_t tokens) {
  Context ctx({});
  const LoadedModel loaded = load_model(ctx, path, DType::f32);
  const ModelConfig& config = loaded.model.config();
  KvCache cache(ctx, config, tokens, DType::f32);
  for (int64_t i = 0; i < tokens; ++i) {
    const std::vector<int32_t> token = {int32_t((5 + 7 * i + i * i) % config.vocab_size)};
    const auto logits =
        to_vector<float>(loaded.model.next_logits(ctx, int_tensor(ctx, token), cache));
    std::fwrite(logits.data(), sizeof(float), logits.size(), stdout);
  }
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  try {
    tessera::check(argc == 3, "usage: print_logits MODEL N");
    tessera::print_logits(argv[1], std::stoll(argv[2]));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "print_logits: %s\n", error.what());
    return 1;
  }
}
