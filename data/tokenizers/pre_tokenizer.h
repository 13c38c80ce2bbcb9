// The "pre_tokenizer" of a tokenizer.json: how a text is split into words, which are encoded one by
// one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizers/json_file.h"

namespace tessera {

using WordVisitor = std::function<void(std::string_view word)>;

// Where a piece of text stands.
struct Place {
  bool begins_document = false;
  bool begins_segment = false;  // a document, or what follows an added token
};

// One step: splits a piece and may change spaces.
class Splitting {
 public:
  // How a step treats the places of CutRule.
  enum class AtCut : uint8_t {
    splits,           // always a new word there, whatever is around
    splits_at_space,  // only before a space
    keeps,            // the two sides do not matter to each other
    unknown,
  };

  virtual ~Splitting() = default;
  // `text` is valid UTF-8 and not empty.
  virtual void split(std::string_view text, Place place, const WordVisitor& visit) const = 0;
  virtual AtCut at_cut() const { return AtCut::unknown; }
};

struct PreTokenizer {
  std::vector<std::unique_ptr<Splitting>> steps;
  bool byte_level = false;  // words are bytes, otherwise characters
  std::string gguf_name;    // of the rule, where GGUF has one for it

  void split(std::string_view text, Place place, const WordVisitor& visit, size_t step = 0) const;
};

// Throws Error naming the key of what is not supported.
PreTokenizer parse_pre_tokenizer(const JsonValue& value);

// Begins a word at every space mark (U+2581) that follows something else.
std::unique_ptr<Splitting> split_at_space_marks();

// The splitting patterns that models publish.
namespace patterns {
inline constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
}  // namespace patterns

}  // namespace tessera
