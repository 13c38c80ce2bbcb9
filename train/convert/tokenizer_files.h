// Tokenizers beside models.
#pragma once

#include "model/formats/gguf_file.h"
#include "train/convert/model_source.h"

namespace tessera {

// The tokenizer that a foreign model's folder holds. Error, naming the file, where there is none or
// one that is not known here.
std::unique_ptr<Tokenizer> read_tokenizer_files(const std::filesystem::path& folder);

// Into a folder: the files that the source's folder has, or those that its tokenizer is published
// as, or, for a tokenizer without a published form, one of our own.
void write_tokenizer_files(const ModelSource& source, const std::filesystem::path& folder);

// A tokenizer and the ids of special tokens as the metadata of a GGUF file.
GgufMetadata gguf_tokenizer(const ModelSource& source);

// The ids of special tokens within the state of a converted checkpoint, and back.
std::string state_of_special_tokens(const SpecialTokens& tokens, ModelForm converted_from);
SpecialTokens special_tokens_of_state(const std::string& state_json);

// The source's, or its tokenizer's where it says nothing.
SpecialTokens special_tokens(const ModelSource& source);

}  // namespace tessera
