// The beginning of a fine-tuning run: weights of another model.
#pragma once

#include "data/loader.h"
#include "train/config.h"
#include "train/optimizer/adamw.h"

namespace tessera {

// Throws Error when the tokens of `loader` are not those of the tokenizer (see same_tokens) of the
// model at `path`, as far as that one is known.
void check_tokenizer_of(const std::filesystem::path& path, const Loader& loader);

// Sets the weights (masters and working copies) from the model at `path`; moments stay as they are.
void read_initial_weights(Context& ctx, const std::filesystem::path& path, AdamW& optimizer);

}  // namespace tessera
