// The ids that begin and end a sequence.
#pragma once

#include "train/convert/model_source.h"

namespace tessera {

// The source's, or its tokenizer's where it says nothing.
SpecialTokens special_tokens(const ModelSource& source);

// Within the state of a converted checkpoint, and back.
std::string state_of_special_tokens(const SpecialTokens& tokens, ModelForm converted_from);
SpecialTokens special_tokens_of_state(const std::string& state_json);

}  // namespace tessera
