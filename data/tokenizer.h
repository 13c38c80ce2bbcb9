// Text to token ids and back, behind one interface. A tokenizer serializes to a JSON text that a
// token file and a checkpoint carry, so that neither needs the files it came from.
#pragma once

#include <cstdint>
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

  // Appends the bytes that `id` stands for; nothing for special tokens. Throws Error if id >=
  // vocabulary_size().
  virtual void decode(TokenId id, std::string& bytes) const = 0;

  // Ends each document in a token file, where the tokenizer has such a token.
  virtual std::optional<TokenId> separator() const { return std::nullopt; }
  virtual std::optional<TokenId> begin_of_sequence() const { return std::nullopt; }
  virtual std::optional<TokenId> end_of_sequence() const { return std::nullopt; }

  // Everything needed to restore it, as JSON; equal tokenizers give equal texts. See
  // restore_tokenizer().
  virtual std::string to_json() const = 0;

  // FNV-1a (64 bit) of to_json() as 16 hexadecimal digits: equal on every machine and in every
  // version.
  std::string hash() const;

  std::vector<TokenId> encode(std::string_view document) const;
  std::string decode(std::span<const TokenId> ids) const;
};

// Turns a stream of ids into text that may be printed at once: bytes are held back until their
// UTF-8 sequence is whole, and bytes that are not UTF-8 become U+FFFD.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string push(TokenId id);
  std::string finish();  // what is still held back, as U+FFFD

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
};

// Receives every part of every document in order and returns how many bytes it used, as
// Tokenizer::encode() does.
using TextVisitor = std::function<size_t(const TextPart&)>;
// Shows the whole corpus to a visitor; may be run several times.
using TextSource = std::function<void(const TextVisitor&)>;

// Names for --tokenizer, in the order of the table in tokenizer.cpp.
std::vector<std::string> tokenizer_names();

// A new tokenizer by name; those with a learned vocabulary read `corpus` once. Throws Error for an
// unknown name.
std::unique_ptr<Tokenizer> create_tokenizer(std::string_view name, const TextSource& corpus);

// The inverse of Tokenizer::to_json(). `where` names the file in errors.
std::unique_ptr<Tokenizer> restore_tokenizer(std::string_view json, std::string_view where);

}  // namespace tessera
