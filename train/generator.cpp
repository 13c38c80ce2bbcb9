#include "train/generator.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>
#include <utility>

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

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// A prompt and what has been made of it.
class Sequence {
 public:
  Sequence(Context& ctx, const Llama& model, const Tokenizer& tokenizer,
           const std::vector<TokenId>& prompt, const GenerateOptions& options, size_t number)
      : number_(number),
        tokenizer_(tokenizer),
        options_(options),
        cache_(ctx, model.config(), capacity(model, prompt, options), model.options().dtype),
        history_(prompt),
        fresh_(prompt.size()),
        decoder_(tokenizer, has_text(tokenizer, prompt)),
        filter_(options.stop) {
    result_.prompt_tokens = int64_t(prompt.size());
  }

  size_t number() const { return number_; }
  const Generated& result() const { return result_; }
  bool done() const { return result_.stopped || result_.tokens == options_.max_tokens; }

  // Appends the tokens that the model has not seen. A full cache starts again from the newer half
  // of what it held.
  Continuation next(std::vector<int32_t>& tokens) {
    if (cache_.length() + int64_t(fresh_) > cache_.capacity()) {
      history_.erase(history_.begin(), history_.end() - cache_.capacity() / 2);
      cache_.clear();
      fresh_ = history_.size();
    }
    tokens.insert(tokens.end(), history_.end() - int64_t(fresh_), history_.end());
    return {&cache_, int64_t(std::exchange(fresh_, 1))};
  }

  // Draws a token; returns the text that may be shown now.
  std::string accept(std::span<const float> logits) {
    // The model's vocabulary may be padded beyond the tokenizer's.
    const size_t known = std::min<size_t>(logits.size(), tokenizer_.vocabulary_size());
    const auto id = TokenId(sample(logits.first(known), options_.sampler, result_.tokens));
    history_.push_back(id);
    ++result_.tokens;
    std::string text;
    if (id == tokenizer_.end_of_sequence() || id == tokenizer_.separator() ||
        std::ranges::count(options_.end_tokens, int64_t{id}) > 0) {
      result_.stopped = true;
    } else {
      text = filter_.push(decoder_.push(id));
      result_.stopped = filter_.stopped();
    }
    if (done()) text += filter_.push(decoder_.finish()) + filter_.finish();
    return text;
  }

 private:
  static bool has_text(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
    std::string bytes;
    for (size_t i = 0; i < ids.size() && bytes.empty(); ++i) tokenizer.decode(ids[i], bytes);
    return !bytes.empty();
  }
  static int64_t capacity(const Llama& model, const std::vector<TokenId>& prompt,
                          const GenerateOptions& options) {
    const int64_t length = int64_t(prompt.size()), room = model.config().context - length;
    return length + std::min(room, options.max_tokens);
  }

  size_t number_;
  const Tokenizer& tokenizer_;
  const GenerateOptions& options_;
  KvCache cache_;
  std::vector<TokenId> history_;
  size_t fresh_;  // of the history's end, not in the cache yet
  StreamDecoder decoder_;
  StopFilter filter_;
  Generated result_;
};

using Sequences = std::vector<std::unique_ptr<Sequence>>;

// One pass over what these sequences have new, and a token for each.
void advance(Context& ctx, const Llama& model, const Sequences& sequences,
             const std::function<void(size_t, std::string_view)>& emit) {
  std::vector<int32_t> tokens;
  std::vector<Continuation> continuations;
  for (const auto& sequence : sequences) continuations.push_back(sequence->next(tokens));
  const Tensor logits = model.next_logits(ctx, int_tensor(ctx, tokens), continuations);
  const Tensor wide = ctx.empty(logits.shape(), DType::f32);
  convert(ctx, wide, logits);
  const std::vector<float> values = to_vector<float>(wide);
  const size_t vocab = size_t(logits.shape(1));
  for (size_t i = 0; i < sequences.size(); ++i) {
    const std::string text = sequences[i]->accept(std::span(values).subspan(i * vocab, vocab));
    emit(sequences[i]->number(), text);
  }
}

}  // namespace

std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, std::string_view prompt) {
  std::vector<TokenId> ids;
  if (const auto begin = tokenizer.begin_of_sequence()) ids.push_back(*begin);
  const std::vector<TokenId> text = tokenizer.encode(prompt);
  ids.insert(ids.end(), text.begin(), text.end());
  if (ids.empty() && tokenizer.separator()) ids.push_back(*tokenizer.separator());
  check(!ids.empty(),
        "the prompt is empty and tokenizer {} has no token to begin with; give a --prompt",
        tokenizer.name());
  return ids;
}

std::vector<Generated> generate(Context& ctx, const Llama& model, const Tokenizer& tokenizer,
                                std::span<const std::vector<TokenId>> prompts,
                                const GenerateOptions& options,
                                const std::function<void(size_t, std::string_view)>& emit,
                                GenerateTimes* times) {
  for (size_t i = 0; i < prompts.size(); ++i) {
    check(int64_t(prompts[i].size()) < model.config().context,
          "prompt {} has {} tokens, the model's context {}; shorten it", i + 1, prompts[i].size(),
          model.config().context);
  }
  GenerateTimes spent;
  std::vector<Generated> results(prompts.size());
  Sequences active;
  for (size_t next = 0; next < prompts.size() || !active.empty();) {
    Sequences begun;
    auto begin = Clock::now();
    // Prompts that are read together take no more memory than the longest.
    int64_t read = 0;  // tokens
    for (; next < prompts.size() && int64_t(active.size() + begun.size()) < options.batch; ++next) {
      read += int64_t(prompts[next].size());
      if (!begun.empty() && read > model.config().context) break;
      begun.push_back(
          std::make_unique<Sequence>(ctx, model, tokenizer, prompts[next], options, next));
      spent.prompt_tokens += begun.back()->result().prompt_tokens;
    }
    if (!begun.empty()) advance(ctx, model, begun, emit);
    spent.prompt_seconds += seconds_since(begin);
    std::ranges::move(begun, std::back_inserter(active));
    const auto retire = [&] {
      for (const auto& sequence : active) results[sequence->number()] = sequence->result();
      std::erase_if(active, [](const auto& sequence) { return sequence->done(); });
    };
    retire();
    if (active.empty()) continue;
    begin = Clock::now();
    advance(ctx, model, active, emit);
    spent.token_seconds += seconds_since(begin);
    spent.tokens += int64_t(active.size());
    retire();
  }
  if (times) *times = spent;
  return results;
}

Generated generate(Context& ctx, const Llama& model, const Tokenizer& tokenizer,
                   std::string_view prompt, const GenerateOptions& options,
                   const std::function<void(std::string_view)>& emit) {
  const std::vector<TokenId> ids = encode_prompt(tokenizer, prompt);
  return generate(ctx, model, tokenizer, std::span(&ids, 1), options,
                  [&](size_t, std::string_view text) { emit(text); })
      .front();
}

}  // namespace tessera
