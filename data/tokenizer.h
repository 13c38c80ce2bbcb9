// Text to token ids and back, behind one interface. A tokenizer serializes to a JSON text that a
// token file and a checkpoint carry, so that neither needs the files it came from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"

namespace tessera {

using TokenId = uint32_t;

// A piece of one document. Long documents come in several parts.
struct TextPart {
  std::string_view bytes;
  uint64_t offset = 0;  // of bytes[0] in its document; 0 marks a document's first part
  bool last = true;     // this part ends the document
};

// Text that cannot be encoded. The message names the byte; who knows the file adds it.
class TextError : public Error {
 public:
  using Error::Error;
};

// A learned vocabulary as model files (GGUF) spell it.
struct Vocabulary {
  enum class Kind : uint8_t {
    byte_level_bpe,         // tokens are spelled with GPT-2's 256 printable characters for bytes
    sentencepiece_bpe,      // tokens are UTF-8 with U+2581 for a space
    sentencepiece_unigram,  // the same
  };
  enum class TokenType : uint8_t { normal, unknown, control, user_defined, unused, byte };
  struct Token {
    std::string text;
    float score = 0;  // log probability, or minus the rank of its merge; 0 where there is none
    TokenType type = TokenType::normal;
  };

  Kind kind = Kind::byte_level_bpe;
  std::string pre_tokenizer;        // GGUF's name of the splitting rule; empty if it has none
  std::vector<Token> tokens;        // by id; an id that nothing uses has type unused
  std::vector<std::string> merges;  // "left right", best first; byte_level_bpe only
  std::optional<TokenId> begin_of_sequence, end_of_sequence, unknown, padding;
  bool add_begin_of_sequence = false;  // encoders put it first
  bool add_space_prefix = false;       // encoders put a space before the text
  // SentencePiece's changes of a text: spaces at its ends and all but one of a row are dropped, and
  // characters are replaced by this table (the model's precompiled_charsmap).
  bool remove_extra_whitespaces = false;
  std::string character_map;
};

struct TextFile {
  std::string name;
  std::string contents;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::string name() const = 0;
  virtual uint32_t vocabulary_size() const = 0;  // every id is below it

  // Appends the ids of `part` and returns how many of its bytes were used: all of them in a
  // document's last part; otherwise as many as are encoded the same whatever follows (the caller
  // gives the rest again with the next part). Throws Error naming the byte offset where the text
  // cannot be encoded.
  virtual size_t encode(const TextPart& part, std::vector<TokenId>& ids) const = 0;

  // Appends the bytes that `id` stands for within a text; nothing for special tokens. Throws Error
  // if id >= vocabulary_size().
  virtual void decode(TokenId id, std::string& bytes) const = 0;

  // The whole text of a document from its beginning. Differs from the bytes of its ids where
  // encode() puts a space before a document's text (SentencePiece): that one is taken away.
  std::string decode(std::span<const TokenId> ids) const;
  virtual bool adds_leading_space() const { return false; }

  // Ends each document in a token file, where the tokenizer has such a token.
  virtual std::optional<TokenId> separator() const { return std::nullopt; }
  // Begins each document and prompt; encode() does not add it. Nothing where the tokenizer's files
  // name such a token, but do not put it before a text.
  virtual std::optional<TokenId> begin_of_sequence() const { return std::nullopt; }
  virtual std::optional<TokenId> end_of_sequence() const { return std::nullopt; }

  // Whether any bytes at all can be encoded; otherwise encode() throws TextError for some.
  virtual bool encodes_everything() const { return true; }

  // The files of a Hugging Face folder that say the same; empty where there is no such format.
  virtual std::vector<TextFile> published_files() const { return {}; }
  virtual std::optional<Vocabulary> vocabulary() const { return std::nullopt; }

  // Everything needed to restore it, as JSON; equal tokenizers give equal texts. See
  // restore_tokenizer().
  virtual std::string to_json() const = 0;

  // FNV-1a (64 bit) of to_json() as 16 hexadecimal digits: equal on every machine and in every
  // version.
  std::string hash() const;

  std::vector<TokenId> encode(std::string_view document) const;
};

// Whether every id stands for the same bytes in both, so that a model that learned the ids of one
// understands the other's: as between a tokenizer and the files it was published in. Special tokens
// stand for none.
bool same_tokens(const Tokenizer& a, const Tokenizer& b);

// Turns a stream of ids into text that may be printed at once: bytes are held back until their
// UTF-8 sequence is whole, and bytes that are not UTF-8 become U+FFFD.
class StreamDecoder {
 public:
  // `continues`: the ids go on from text that comes before them, so that a space at their beginning
  // is meant (see Tokenizer::adds_leading_space).
  explicit StreamDecoder(const Tokenizer& tokenizer, bool continues = false)
      : tokenizer_(tokenizer), skip_space_(!continues && tokenizer.adds_leading_space()) {}
  std::string push(TokenId id);
  std::string finish();  // what is still held back, as U+FFFD

 private:
  const Tokenizer& tokenizer_;
  bool skip_space_;
  std::string pending_;
};

// Receives every part of every document in order and returns how many bytes it used, as
// Tokenizer::encode() does.
using TextVisitor = std::function<size_t(const TextPart&)>;
// Shows the whole corpus to a visitor; may be run several times.
using TextSource = std::function<void(const TextVisitor&)>;

// What create_tokenizer() knows.
std::vector<std::string> tokenizer_names();

// A new tokenizer by name; those with a learned vocabulary read `corpus` once. Throws Error for an
// unknown name.
std::unique_ptr<Tokenizer> create_tokenizer(std::string_view name, const TextSource& corpus);

// A published tokenizer: a Hugging Face `tokenizer.json` (byte-level BPE and the like), a
// SentencePiece `.model`, or a folder with one of them (tokenizer.json first). A
// `tokenizer_config.json` beside it names the tokens that begin and end a text. Throws Error naming
// the file, and the key of what is damaged or unsupported.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

// Hears the ids that a vocabulary has so far; may throw to stop.
using LearningProgress = std::function<void(uint32_t ids)>;

// Learns a byte-level BPE of at most `vocabulary_size` ids (257 or more) from `corpus`, which it
// reads once.
std::unique_ptr<Tokenizer> train_bpe_tokenizer(
    uint32_t vocabulary_size, const TextSource& corpus,
    const LearningProgress& progress = [](uint32_t) {});

// The inverse of Tokenizer::to_json(). `where` names the file in errors.
std::unique_ptr<Tokenizer> restore_tokenizer(std::string_view json, std::string_view where);

}  // namespace tessera
