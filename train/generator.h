// Text from a model, token by token.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"
#include "model/llama.h"
#include "model/sampler.h"

namespace tessera {

struct GenerateOptions {
  SamplerOptions sampler;
  int64_t max_tokens = 256;
  std::vector<std::string> stop;  // texts that end the generation; they are not part of it
};

struct Generated {
  int64_t prompt_tokens = 0, tokens = 0;
  bool stopped = false;  // by a stop text or the end-of-text token
};

// Continues `prompt` and hands the text to `emit` as soon as it can no longer be part of a stop
// text. When the model's context is full, the newer half of it is read again and generation goes
// on. Throws Error for a prompt that the tokenizer cannot encode or that exceeds the context.
Generated generate(Context& ctx, const Llama& model, const Tokenizer& tokenizer,
                   std::string_view prompt, const GenerateOptions& options,
                   const std::function<void(std::string_view)>& emit);

}  // namespace tessera
