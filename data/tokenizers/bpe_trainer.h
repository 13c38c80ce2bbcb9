// Learning a byte-level BPE vocabulary.
#pragma once

#include <string>

#include "data/tokenizer.h"

namespace tessera {

// The text of a Hugging Face tokenizer.json of at most `vocabulary_size` ids: the separator
// "<|endoftext|>", the 256 bytes, and the merges of the pairs that occur most often within words of
// `corpus`, which are split by Llama 3's pattern. It is smaller where no pair is left that occurs
// twice. Equal corpora give equal texts. Bytes that are not UTF-8 are not learned from.
std::string train_bpe(
    uint32_t vocabulary_size, const TextSource& corpus,
    const LearningProgress& progress = [](uint32_t) {});

}  // namespace tessera
