#include "data/prepare.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/check.h"
#include "core/files/file.h"
#include "core/files/output_file.h"
#include "core/random.h"
#include "data/chat_template.h"
#include "data/parallel.h"
#include "data/spool.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// Receives the tokens of documents in order and decides which split they go to.
class Splitter {
 public:
  virtual ~Splitter() = default;
  // `mask` tells which of the tokens carry loss; empty: the file stores no masks.
  virtual void append(std::span<const TokenId> ids, std::span<const uint8_t> mask = {}) = 0;
  virtual void end_document() = 0;
  virtual void finish() = 0;
};

// A template ends conversations itself.
std::optional<TokenId> document_separator(const Tokenizer& tokenizer, const PrepareConfig& config) {
  return config.instruction ? std::nullopt : tokenizer.separator();
}

void write(TokenFileWriter& writer, Split split, std::span<const TokenId> ids,
           std::span<const uint8_t> mask) {
  mask.empty() ? writer.append(split, ids) : writer.append(split, ids, mask);
}

class DocumentSplitter final : public Splitter {
 public:
  DocumentSplitter(TokenFileWriter& writer, const Tokenizer& tokenizer, const PrepareConfig& config)
      : writer_(writer),
        separator_(document_separator(tokenizer, config)),
        random_(config.seed, purpose_id("prepare/split"), 0),
        val_fraction_(config.val_fraction) {}

  void append(std::span<const TokenId> ids, std::span<const uint8_t> mask) override {
    write(writer_, split(), ids, mask);
  }

  void end_document() override {
    if (separator_) writer_.append(split(), std::span(&*separator_, 1));
    writer_.end_document(split());
    ++document_;
  }

  void finish() override {}

 private:
  Split split() const {
    return double(random_.uniform(document_)) < val_fraction_ ? Split::val : Split::train;
  }

  TokenFileWriter& writer_;
  std::optional<TokenId> separator_;
  Philox random_;
  double val_fraction_;
  uint64_t document_ = 0;
};

// Where the last part begins is known only at the end, so the tokens wait on disk until then.
class TailSplitter final : public Splitter {
 public:
  TailSplitter(TokenFileWriter& writer, const Tokenizer& tokenizer, const PrepareConfig& config)
      : writer_(writer),
        separator_(document_separator(tokenizer, config)),
        val_fraction_(config.val_fraction),
        tokens_(fs::absolute(config.output).parent_path()),
        masks_(fs::absolute(config.output).parent_path()),
        document_ends_(fs::absolute(config.output).parent_path()) {}

  void append(std::span<const TokenId> ids, std::span<const uint8_t> mask) override {
    tokens_.append(ids);
    masks_.append(mask);
  }

  void end_document() override {
    if (separator_) tokens_.append(std::span(&*separator_, 1));
    document_ends_.append(std::array{tokens_.size()});
  }

  void finish() override {
    const uint64_t documents = document_ends_.size();
    if (documents == 0) return;
    const uint64_t total = tokens_.size() - (separator_ ? 1 : 0);  // none follows the last document
    const auto cut = uint64_t(std::floor(double(total) * (1.0 - val_fraction_)));
    uint64_t begin = 0;
    for (uint64_t d = 0; d < documents; ++d) {
      uint64_t end = 0;
      document_ends_.read(d, std::span(&end, 1));
      end = std::min(end, total);
      copy(Split::train, begin, std::min(end, cut));
      copy(Split::val, std::max(begin, cut), end);
      begin = end;
    }
  }

 private:
  void copy(Split split, uint64_t begin, uint64_t end) {
    if (begin >= end) return;
    for (; begin < end; begin += block_.size()) {
      block_.resize(std::min(end - begin, uint64_t{1} << 16));
      tokens_.read(begin, block_);
      mask_block_.resize(masks_.size() > 0 ? block_.size() : 0);
      masks_.read(begin, mask_block_);
      write(writer_, split, block_, mask_block_);
    }
    writer_.end_document(split);
  }

  TokenFileWriter& writer_;
  std::optional<TokenId> separator_;
  double val_fraction_;
  Spool<TokenId> tokens_;
  Spool<uint8_t> masks_;  // empty without instruction data
  Spool<uint64_t> document_ends_;
  std::vector<TokenId> block_;
  std::vector<uint8_t> mask_block_;
};

std::unique_ptr<Splitter> make_splitter(TokenFileWriter& writer, const Tokenizer& tokenizer,
                                        const PrepareConfig& config) {
  if (config.split == SplitRule::tail) {
    return std::make_unique<TailSplitter>(writer, tokenizer, config);
  }
  return std::make_unique<DocumentSplitter>(writer, tokenizer, config);
}

// Gives the ids of documents to a splitter in their order. Short documents wait for each other, to
// be encoded on all cores.
class DocumentEncoder {
 public:
  DocumentEncoder(const Tokenizer& tokenizer, Splitter& splitter)
      : tokenizer_(tokenizer), splitter_(splitter) {}

  // Returns the bytes used, as Tokenizer::encode().
  size_t add(const TextPart& part) {
    // Only a whole document may wait, and only if it cannot fail: the caller names it in errors.
    // One that has begun comes with offset 0 again where nothing of its first part was used.
    const bool whole = !inside_ && part.offset == 0 && part.last;
    if (whole && tokenizer_.encodes_everything()) {
      waiting_.emplace_back(part.bytes);
      if ((waiting_bytes_ += part.bytes.size()) >= kBatchBytes) flush();
      return part.bytes.size();
    }
    flush();
    std::vector<TokenId> ids;
    const size_t used = tokenizer_.encode(part, ids);
    if (!inside_) begin_document();
    append(ids);
    inside_ = !part.last;
    if (part.last) splitter_.end_document();
    return used;
  }

  void flush() {
    std::vector<std::vector<TokenId>> ids(waiting_.size());
    parallel_for_each(waiting_.size(), [&](size_t d) { ids[d] = tokenizer_.encode(waiting_[d]); });
    for (const auto& document : ids) {
      begin_document();
      append(document);
      splitter_.end_document();
    }
    waiting_.clear();
    waiting_bytes_ = 0;
  }

  uint64_t tokens() const { return tokens_; }  // without those around documents

 private:
  static constexpr size_t kBatchBytes = size_t{4} << 20;

  void begin_document() {
    if (const auto begin = tokenizer_.begin_of_sequence()) {
      splitter_.append(std::array{*begin});
    }
  }

  void append(std::span<const TokenId> ids) {
    splitter_.append(ids);
    tokens_ += ids.size();
  }

  const Tokenizer& tokenizer_;
  Splitter& splitter_;
  std::vector<std::string> waiting_;
  uint64_t waiting_bytes_ = 0, tokens_ = 0;
  bool inside_ = false;  // a document has begun whose last part is still to come
};

// What a tokenizer may learn from.
void show_text(const Corpus& corpus, const PrepareConfig& config, const TextVisitor& visitor,
               const std::function<void(uint64_t)>& progress) {
  if (!config.instruction) return corpus.visit(visitor, progress);
  const auto show_messages = [&](std::string_view line) {
    for (const Message& message : parse_conversation(line, config.instruction->fields))
      visitor({.bytes = message.text});
  };
  corpus.visit_lines(show_messages, progress);
}

// Runs the corpus through the tokenizer; returns the bytes of text.
uint64_t tokenize(const Corpus& corpus, const Tokenizer& tokenizer, Splitter& splitter,
                  const std::function<void(const PrepareProgress&)>& progress) {
  PrepareProgress now{.stage = "tokenizing", .total_bytes = corpus.bytes()};
  uint64_t text_bytes = 0;
  DocumentEncoder encoder(tokenizer, splitter);
  const auto visitor = [&](const TextPart& part) {
    const size_t used = encoder.add(part);
    text_bytes += used;
    return used;
  };
  corpus.visit(visitor, [&](uint64_t bytes) {
    now.bytes = bytes;
    now.tokens = encoder.tokens();
    progress(now);
  });
  encoder.flush();
  return text_bytes;
}

// The same for conversations.
uint64_t tokenize_conversations(const Corpus& corpus, const Tokenizer& tokenizer,
                                const InstructionConfig& config, Splitter& splitter,
                                const std::function<void(const PrepareProgress&)>& progress) {
  const ChatTemplate chat(config.chat_template, tokenizer);
  PrepareProgress now{.stage = "tokenizing", .total_bytes = corpus.bytes()};
  uint64_t text_bytes = 0;
  std::vector<TokenId> ids;
  std::vector<uint8_t> mask;
  const auto visitor = [&](std::string_view line) {
    const Conversation conversation = parse_conversation(line, config.fields);
    ids.clear();
    mask.clear();
    chat.encode(conversation, ids, mask);
    splitter.append(ids, mask);
    splitter.end_document();
    now.tokens += ids.size();
    for (const Message& message : conversation) text_bytes += message.text.size();
  };
  corpus.visit_lines(visitor, [&](uint64_t bytes) {
    now.bytes = bytes;
    progress(now);
  });
  return text_bytes;
}

// Learned from the corpus, by name or from a file.
std::unique_ptr<Tokenizer> make_tokenizer(
    const PrepareConfig& config, const Corpus& corpus,
    const std::function<void(const PrepareProgress&)>& progress) {
  const TextSource source = [&](const TextVisitor& visitor) {
    corpus.check_rereadable();
    show_text(corpus, config, visitor, [&](uint64_t bytes) {
      progress({.stage = "reading", .bytes = bytes, .total_bytes = corpus.bytes()});
    });
  };
  if (config.train_vocabulary > 0) {
    return train_bpe_tokenizer(config.train_vocabulary, source, [&](uint32_t ids) {
      const uint64_t all = corpus.bytes();
      progress({.stage = "learning", .bytes = all, .total_bytes = all, .tokens = ids});
    });
  }
  const std::vector<std::string> names = tokenizer_names();
  if (std::ranges::find(names, config.tokenizer) == names.end()) {
    check(fs::exists(config.tokenizer),
          "unknown tokenizer '{}': neither one of {} nor a file or folder of that name",
          config.tokenizer, fmt::join(names, ", "));
    return load_tokenizer(config.tokenizer);
  }
  return create_tokenizer(config.tokenizer, source);
}

// The tokenizer.json under its temporary name.
std::unique_ptr<OutputFile> write_tokenizer(const fs::path& path, const Tokenizer& tokenizer) {
  const std::vector<TextFile> files = tokenizer.published_files();
  check(!files.empty() && files[0].name == "tokenizer.json",
        "cannot write {}: a {} tokenizer has no tokenizer.json", path.string(), tokenizer.name());
  auto file = std::make_unique<OutputFile>(path);
  file->reserve(files[0].contents.size());
  write_text_file(file->temporary(), files[0].contents);
  return file;
}

void check_splits(const TokenFileWriter& writer, const PrepareConfig& config) {
  const uint64_t train = writer.token_count(Split::train), val = writer.token_count(Split::val);
  check(train + val > 0, "the corpus has no text: every input file is empty");
  const uint64_t documents =
      writer.document_count(Split::train) + writer.document_count(Split::val);
  check(train > 0 && (val > 0 || config.val_fraction == 0),
        "with {} documents and a validation fraction of {}, none is left for {}; use --split tail, "
        "another --val-fraction or another --seed",
        documents, config.val_fraction, train > 0 ? "val" : "train");
}

}  // namespace

PrepareSummary prepare(const PrepareConfig& config,
                       const std::function<void(const PrepareProgress&)>& progress) {
  check(config.val_fraction >= 0 && config.val_fraction < 1,
        "the validation fraction is {}; it must be at least 0 and below 1", config.val_fraction);
  fs::path above = fs::absolute(config.output).parent_path();  // what is missing will be made
  for (std::error_code ignored; !fs::exists(above, ignored);) above = above.parent_path();
  check(fs::is_directory(above), "cannot write {}: {} is not a folder", config.output.string(),
        above.string());
  CorpusConfig corpus_config = config.corpus;
  corpus_config.exclude = {config.output};
  if (!config.save_tokenizer.empty()) {
    check(fs::weakly_canonical(config.save_tokenizer) != fs::weakly_canonical(config.output),
          "the token file and the tokenizer.json are both to be written to {}; name two files",
          config.output.string());
    corpus_config.exclude.push_back(config.save_tokenizer);
  }
  const Corpus corpus(corpus_config);
  const auto tokenizer = make_tokenizer(config, corpus, progress);
  std::unique_ptr<OutputFile> saved;
  if (!config.save_tokenizer.empty()) saved = write_tokenizer(config.save_tokenizer, *tokenizer);
  using enum TokenFileWriter::LossMask;
  TokenFileWriter writer(config.output, *tokenizer, config.instruction ? stored : none);
  const auto splitter = make_splitter(writer, *tokenizer, config);
  const uint64_t text_bytes =
      config.instruction
          ? tokenize_conversations(corpus, *tokenizer, *config.instruction, *splitter, progress)
          : tokenize(corpus, *tokenizer, *splitter, progress);
  splitter->finish();
  check_splits(writer, config);
  const auto part = [&](Split split) {
    return PrepareSummary::Part{writer.document_count(split), writer.token_count(split),
                                writer.loss_token_count(split)};
  };
  const PrepareSummary summary{.train = part(Split::train),
                               .val = part(Split::val),
                               .tokenizer = tokenizer->name(),
                               .tokenizer_hash = tokenizer->hash(),
                               .vocabulary_size = tokenizer->vocabulary_size(),
                               .files = corpus.files().size(),
                               .bytes = text_bytes};
  writer.finish();
  if (saved) saved->commit();
  return summary;
}

}  // namespace tessera
