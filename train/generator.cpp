#include "train/generator.h"

#include <algorithm>

#include "core/transfer.h"
#include "kernels/elementwise/kernel.h"

namespace tessera {
namespace {

// Holds back the end of the text while it may be the beginning of a stop text.
class StopFilter {
 public:
  explicit StopFilter(const std::vector<std::string>& stops) : stops_(stops) {}

  // Appends `text`; returns what may be shown now. After a stop text nothing more is shown.
  std::string push(std::string_view text) {
    held_ += text;
    size_t end = held_.size();
    for (const std::string& stop : stops_) {
      if (const size_t found = held_.find(stop); found != std::string::npos) {
        stopped_ = true;
        end = std::min(end, found);
      }
    }
    if (!stopped_) end -= longest_partial_stop();
    std::string shown = held_.substr(0, end);
    held_.erase(0, end);
    return shown;
  }
  std::string finish() { return stopped_ ? std::string() : std::exchange(held_, {}); }
  bool stopped() const { return stopped_; }

 private:
  size_t longest_partial_stop() const {
    size_t longest = 0;
    for (const std::string& stop : stops_) {
      for (size_t n = std::min(stop.size() - 1, held_.size()); n > longest; --n) {
        if (held_.ends_with(std::string_view(stop).substr(0, n))) longest = n;
      }
    }
    return longest;
  }

  const std::vector<std::string>& stops_;
  std::string held_;
  bool stopped_ = false;
};

std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, std::string_view prompt,
                                   int64_t context) {
  std::vector<TokenId> ids;
  if (const auto begin = tokenizer.begin_of_sequence()) ids.push_back(*begin);
  const std::vector<TokenId> text = tokenizer.encode(prompt);
  ids.insert(ids.end(), text.begin(), text.end());
  if (ids.empty() && tokenizer.separator()) ids.push_back(*tokenizer.separator());
  check(
      !ids.empty(),
      "generate: the prompt is empty and tokenizer {} has no token to begin with; give a --prompt",
      tokenizer.name());
  check(int64_t(ids.size()) < context,
        "generate: the prompt has {} tokens, the model's context {}; shorten it", ids.size(),
        context);
  return ids;
}

// Logits after `ids`, which continue the cache; a full cache starts again from the newer half of
// `history`.
std::vector<float> next_logits(Context& ctx, const Llama& model, KvCache& cache,
                               std::vector<TokenId>& history, size_t fresh) {
  if (cache.length() + int64_t(fresh) > cache.capacity()) {
    history.erase(history.begin(), history.end() - cache.capacity() / 2);
    cache.clear();
    fresh = history.size();
  }
  const std::vector<int32_t> newest(history.end() - int64_t(fresh), history.end());
  const Tensor tokens = int_tensor(ctx, newest);
  const Tensor logits = model.next_logits(ctx, tokens, cache);
  const Tensor wide = ctx.empty(logits.shape(), DType::f32);
  convert(ctx, wide, logits);
  return to_vector<float>(wide);
}

}  // namespace

Generated generate(Context& ctx, const Llama& model, const Tokenizer& tokenizer,
                   std::string_view prompt, const GenerateOptions& options,
                   const std::function<void(std::string_view)>& emit) {
  const int64_t context = model.config().context;
  std::vector<TokenId> history = encode_prompt(tokenizer, prompt, context);
  Generated result{.prompt_tokens = int64_t(history.size())};
  KvCache cache(ctx, model.config(), context, model.options().dtype);
  StreamDecoder decoder(tokenizer, !prompt.empty());
  StopFilter filter(options.stop);
  size_t fresh = history.size();
  while (result.tokens < options.max_tokens && !result.stopped) {
    std::vector<float> logits = next_logits(ctx, model, cache, history, fresh);
    // The model's vocabulary may be padded beyond the tokenizer's.
    logits.resize(std::min<size_t>(logits.size(), tokenizer.vocabulary_size()));
    const auto id = TokenId(sample(logits, options.sampler, result.tokens));
    history.push_back(id);
    fresh = 1;
    ++result.tokens;
    if (id == tokenizer.end_of_sequence() || id == tokenizer.separator()) {
      result.stopped = true;
    } else {
      emit(filter.push(decoder.push(id)));
      result.stopped = filter.stopped();
    }
  }
  emit(filter.push(decoder.finish()));
  emit(filter.finish());
  return result;
}

}  // namespace tessera
