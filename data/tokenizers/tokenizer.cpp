#include "data/tokenizer.h"

#include "core/check.h"
#include "core/files/file.h"
#include "data/tokenizers/bpe_trainer.h"
#include "data/tokenizers/json_file.h"
#include "data/tokenizers/kinds.h"
#include "data/utf8.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct TokenizerKind {
  std::string_view name;
  std::unique_ptr<Tokenizer> (*restore)(const json& json);
  // From a corpus; null for those that come from files.
  std::unique_ptr<Tokenizer> (*create)(const TextSource& corpus);
};

constexpr TokenizerKind kTokenizers[] = {
    {"byte", restore_byte_tokenizer, create_byte_tokenizer},
    {"char", restore_char_tokenizer, create_char_tokenizer},
    {"bpe", restore_bpe_tokenizer, nullptr},
    {"sentencepiece", restore_sentencepiece_tokenizer, nullptr},
};

std::unique_ptr<Tokenizer> restore(const json& parsed) {
  const auto name = parsed.at("tokenizer").get<std::string>();
  std::vector<std::string_view> names;
  for (const TokenizerKind& kind : kTokenizers) {
    if (kind.name == name) return kind.restore(parsed);
    names.push_back(kind.name);
  }
  fail("unknown tokenizer '{}'; known are: {}", name, fmt::join(names, ", "));
}

// Runs `body`, naming `where` in its errors.
template <class Body>
std::unique_ptr<Tokenizer> named(std::string_view where, Body&& body) {
  try {
    return body();
  } catch (const json::exception& e) {
    fail("{}: the tokenizer's JSON is damaged: {}", where, e.what());
  } catch (const Error& e) {
    fail("{}: {}", where, e.what());
  }
}

fs::path file_in_folder(const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  std::vector<fs::path> models;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".model") models.push_back(entry.path());
  }
  check(models.size() == 1,
        "folder {} has no tokenizer.json, no tokenizer.model and {} other .model files; name the "
        "tokenizer's file",
        folder.string(), models.size());
  return models[0];
}

// Appends the text of `bytes` to `out`, U+FFFD for what is not UTF-8, and returns how many bytes
// are left over: the beginning of a sequence that the end cuts.
size_t append_valid_utf8(std::string_view bytes, std::string& out) {
  while (!bytes.empty()) {
    const Utf8Sequence next = first_utf8(bytes);
    if (next.kind == Utf8Sequence::Kind::incomplete) break;
    if (next.kind == Utf8Sequence::Kind::valid) {
      out.append(bytes.substr(0, next.length));
    } else {
      append_utf8(0xFFFD, out);
    }
    bytes.remove_prefix(next.length);
  }
  return bytes.size();
}

}  // namespace

std::vector<TokenId> Tokenizer::encode(std::string_view document) const {
  std::vector<TokenId> ids;
  encode(TextPart{.bytes = document}, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  std::string bytes;
  for (TokenId id : ids) decode(id, bytes);
  if (adds_leading_space() && bytes.starts_with(' ')) bytes.erase(0, 1);
  return bytes;
}

bool same_tokens(const Tokenizer& a, const Tokenizer& b) {
  if (a.hash() == b.hash()) return true;
  if (a.vocabulary_size() != b.vocabulary_size()) return false;
  for (TokenId id = 0; id < a.vocabulary_size(); ++id) {
    std::string bytes_a, bytes_b;
    a.decode(id, bytes_a);
    b.decode(id, bytes_b);
    if (bytes_a != bytes_b) return false;
  }
  return true;
}

std::string Tokenizer::hash() const {
  uint64_t h = 14695981039346656037u;
  for (char c : to_json()) h = (h ^ uint8_t(c)) * 1099511628211u;
  return fmt::format("{:016x}", h);
}

std::string StreamDecoder::push(TokenId id) {
  tokenizer_.decode(id, pending_);
  if (skip_space_ && !pending_.empty()) {
    if (pending_[0] == ' ') pending_.erase(0, 1);
    skip_space_ = false;
  }
  std::string text;
  pending_.erase(0, pending_.size() - append_valid_utf8(pending_, text));
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  if (!pending_.empty()) append_utf8(0xFFFD, text);
  pending_.clear();
  return text;
}

std::vector<std::string> tokenizer_names() {
  std::vector<std::string> names;
  for (const TokenizerKind& kind : kTokenizers) {
    if (kind.create != nullptr) names.emplace_back(kind.name);
  }
  return names;
}

std::unique_ptr<Tokenizer> create_tokenizer(std::string_view name, const TextSource& corpus) {
  for (const TokenizerKind& kind : kTokenizers) {
    if (kind.name == name && kind.create != nullptr) return kind.create(corpus);
  }
  fail("unknown tokenizer '{}'; known are: {}", name, fmt::join(tokenizer_names(), ", "));
}

std::unique_ptr<Tokenizer> restore_tokenizer(std::string_view text, std::string_view where) {
  return named(where, [&] { return restore(json::parse(text)); });
}

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
  check(fs::exists(path), "tokenizer {} does not exist", path.string());
  const fs::path file = fs::is_directory(path) ? file_in_folder(path) : path;
  check(fs::is_regular_file(file), "tokenizer {} is not a file", file.string());
  return named(file.string(), [&] {
    std::string contents = read_text_file(file);
    SpecialTokens special = read_special_tokens(file.parent_path());
    const bool json = file.extension() == ".json" || contents.starts_with('{');
    if (json) return create_bpe_tokenizer(std::move(contents), std::move(special));
    return create_sentencepiece_tokenizer(std::move(contents), std::move(special));
  });
}

std::unique_ptr<Tokenizer> train_bpe_tokenizer(uint32_t vocabulary_size, const TextSource& corpus,
                                               const LearningProgress& progress) {
  return create_bpe_tokenizer(train_bpe(vocabulary_size, corpus, progress), {});
}

}  // namespace tessera
