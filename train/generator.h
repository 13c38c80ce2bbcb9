// Text from a model, token by token, for several prompts at a time.
#pragma once

#include <functional>
#include <span>
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
  std::vector<std::string> stop;    // texts that end the generation; they are not part of it
  std::vector<int64_t> end_tokens;  // ids that end it, besides the tokenizer's own
  int64_t batch = 8;                // prompts that are continued together
};

struct Generated {
  int64_t prompt_tokens = 0, tokens = 0;
  bool stopped = false;  // by a stop text or an end token
};

// What the parts took; the first token of each text counts as none, for the prompt's pass gives it.
struct GenerateTimes {
  int64_t prompt_tokens = 0, tokens = 0;
  double prompt_seconds = 0, token_seconds = 0;
};

// The ids of a prompt, with what begins a sequence. Throws Error for a prompt that the tokenizer
// cannot encode or that gives no token.
std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, std::string_view prompt);

// Continues each of `prompts`, options.batch at a time: where one ends, the next one begins. Hands
// text of prompt number i to `emit` as soon as it can no longer be part of a stop text. A prompt's
// text does not depend on the others, up to the rounding of matrix products of other sizes. When
// the model's context is full, the newer half of it is read again and generation goes on. Throws
// Error for a prompt that exceeds the context.
std::vector<Generated> generate(
    Context& ctx, const Llama& model, const Tokenizer& tokenizer,
    std::span<const std::vector<TokenId>> prompts, const GenerateOptions& options,
    const std::function<void(size_t prompt, std::string_view text)>& emit,
    GenerateTimes* times = nullptr);

// The same for the text of one prompt.
Generated generate(Context& ctx, const Llama& model, const Tokenizer& tokenizer,
                   std::string_view prompt, const GenerateOptions& options,
                   const std::function<void(std::string_view)>& emit);

}  // namespace tessera
