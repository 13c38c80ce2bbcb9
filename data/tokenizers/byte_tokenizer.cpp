#include <nlohmann/json.hpp>

#include "core/check.h"
#include "data/tokenizers/kinds.h"

namespace tessera {
namespace {

class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr TokenId kSeparator = 256;

  std::string name() const override { return "byte"; }
  uint32_t vocabulary_size() const override { return kSeparator + 1; }
  std::optional<TokenId> separator() const override { return kSeparator; }
  std::optional<TokenId> end_of_sequence() const override { return kSeparator; }

  size_t encode(const TextPart& part, std::vector<TokenId>& ids) const override {
    for (char c : part.bytes) ids.push_back(uint8_t(c));
    return part.bytes.size();
  }

  void decode(TokenId id, std::string& bytes) const override {
    check(id < vocabulary_size(), "token id {} is not below the byte vocabulary's size, {}", id,
          vocabulary_size());
    if (id != kSeparator) bytes.push_back(char(id));
  }

  std::string to_json() const override { return nlohmann::json{{"tokenizer", name()}}.dump(); }
};

}  // namespace

std::unique_ptr<Tokenizer> create_byte_tokenizer(const TextSource&) {
  return std::make_unique<ByteTokenizer>();
}

std::unique_ptr<Tokenizer> restore_byte_tokenizer(const nlohmann::json&) {
  return std::make_unique<ByteTokenizer>();
}

}  // namespace tessera
