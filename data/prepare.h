// Text to token file: what the program prepare-data does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "data/conversation.h"
#include "data/corpus.h"
#include "data/token_store.h"

namespace tessera {

enum class SplitRule : uint8_t {
  documents,  // a seeded choice for each document
  tail,       // the end of all documents laid end to end
};

// Instruction data: lines of .jsonl files are conversations, and only responses carry loss.
struct InstructionConfig {
  std::string chat_template;  // a name of chat_template_names()
  ConversationFields fields;
};

struct PrepareConfig {
  CorpusConfig corpus;
  std::filesystem::path output;
  std::string tokenizer;  // a name of tokenizer_names(), or a path for load_tokenizer()
  // If not 0, and `tokenizer` is empty: learn a byte-level BPE of this many ids from the corpus.
  uint32_t train_vocabulary = 0;
  std::filesystem::path save_tokenizer;  // if not empty, the tokenizer.json to write as well
  double val_fraction = 0.1;             // [0, 1)
  SplitRule split = SplitRule::documents;
  uint64_t seed = 0;  // of the choice of documents
  std::optional<InstructionConfig> instruction;
};

struct PrepareProgress {
  const char* stage = "";  // "reading", "learning", "tokenizing"
  uint64_t bytes = 0, total_bytes = 0;
  uint64_t tokens = 0;  // written; in the vocabulary while learning one
};

struct PrepareSummary {
  struct Part {
    uint64_t documents = 0, tokens = 0;
    uint64_t loss_tokens = 0;  // those that carry loss: all without instruction data
  };
  Part train, val;
  std::string tokenizer, tokenizer_hash;
  uint32_t vocabulary_size = 0;
  uint64_t files = 0, bytes = 0;  // of text
};

// Documents begin with the tokenizer's begin_of_sequence() and end with its separator(), where it
// has them (conversations as their template says); with SplitRule::tail only those followed by
// another, so that a single document is split as it is. `progress` is called about once a MiB,
// line or learned token and may throw to stop. The output's folder is made if missing. Throws Error
// for bad input; then nothing else is left behind, and an older output is as it was.
PrepareSummary prepare(const PrepareConfig& config,
                       const std::function<void(const PrepareProgress&)>& progress);

}  // namespace tessera
