// Tokenizers beside models.
#pragma once

#include "train/convert/model_source.h"

namespace tessera {

// The tokenizer that a foreign model's folder holds. Error, naming the file, where there is none or
// one that is not known here.
std::unique_ptr<Tokenizer> read_tokenizer_files(const std::filesystem::path& folder);

// Into a folder: the files that the source's folder has; where it has none, those that its
// tokenizer is published as, or, for a tokenizer without a published form, one of our own.
void write_tokenizer_files(const ModelSource& source, const std::filesystem::path& folder);

}  // namespace tessera
