#pragma once

#include "model/formats/gguf_file.h"
#include "train/convert/model_source.h"

namespace tessera {

// A tokenizer and the ids of special tokens as the metadata of a GGUF file.
GgufMetadata gguf_tokenizer(const ModelSource& source);

// What llama.cpp (of 2026) does otherwise with the GGUF file of this model than we do.
std::vector<std::string> gguf_limits(const ModelSource& source);

}  // namespace tessera
