#include "train/convert/special_tokens.h"

#include <nlohmann/json.hpp>

namespace tessera {

std::string state_of_special_tokens(const SpecialTokens& tokens, ModelForm converted_from) {
  nlohmann::ordered_json state = {{"converted_from", name_of(converted_from)}};
  if (tokens.begin) state["begin_of_sequence"] = *tokens.begin;
  state["end_of_sequence"] = tokens.end;
  return state.dump();
}

SpecialTokens special_tokens_of_state(const std::string& state_json) {
  SpecialTokens tokens;
  const auto state = nlohmann::json::parse(state_json, nullptr, false);
  if (!state.is_object() || !state.contains("converted_from")) return tokens;
  if (state.contains("begin_of_sequence")) tokens.begin = state["begin_of_sequence"].get<int64_t>();
  tokens.end = state.value("end_of_sequence", std::vector<int64_t>());
  return tokens;
}

SpecialTokens special_tokens(const ModelSource& source) {
  SpecialTokens tokens = source.tokens;
  if (!source.tokenizer) return tokens;
  if (!tokens.begin && source.tokenizer->begin_of_sequence())
    tokens.begin = *source.tokenizer->begin_of_sequence();
  const auto end = source.tokenizer->end_of_sequence() ? source.tokenizer->end_of_sequence()
                                                       : source.tokenizer->separator();
  if (tokens.end.empty() && end) tokens.end = {*end};
  return tokens;
}

}  // namespace tessera
