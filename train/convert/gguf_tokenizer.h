#pragma once

#include "model/formats/gguf_file.h"
#include "train/convert/model_source.h"

namespace tessera {

// A tokenizer and the ids of special tokens as the metadata of a GGUF file.
GgufMetadata gguf_tokenizer(const ModelSource& source);

}  // namespace tessera
