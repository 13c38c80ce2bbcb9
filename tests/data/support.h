// What the tests of data/ share: token files of chosen content, errors as text.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/check.h"
#include "data/token_store.h"
#include "tests/support/temporary_folder.h"

namespace tessera::test {

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A tokenizer of any vocabulary size whose text is of no interest.
class NumberTokenizer final : public Tokenizer {
 public:
  explicit NumberTokenizer(uint32_t size) : size_(size) {}
  std::string name() const override { return "number"; }
  uint32_t vocabulary_size() const override { return size_; }
  size_t encode(const TextPart& part, std::vector<TokenId>& ids) const override {
    ids.push_back(0);
    return part.bytes.size();
  }
  void decode(TokenId, std::string&) const override {}
  std::string to_json() const override { return fmt::format(R"({{"number":{}}})", size_); }

 private:
  uint32_t size_;
};

using Documents = std::vector<std::vector<TokenId>>;

inline void write_token_file(const std::filesystem::path& path, uint32_t vocabulary,
                             const Documents& train, const Documents& val = {}) {
  TokenFileWriter writer(path, NumberTokenizer(vocabulary));
  for (Split split : kSplits) {
    for (const auto& document : split == Split::train ? train : val) {
      writer.append(split, document);
      writer.end_document(split);
    }
  }
  writer.finish();
}

// Documents of the given lengths whose tokens count up from `first` over all of them.
inline Documents counting_documents(const std::vector<size_t>& lengths, TokenId first = 0) {
  Documents documents;
  for (size_t length : lengths) {
    auto& document = documents.emplace_back();
    while (document.size() < length) document.push_back(first++);
  }
  return documents;
}

inline std::vector<int32_t> read_split(TokenFile& file, Split split) {
  std::vector<int32_t> tokens(file.token_count(split));
  file.read(split, 0, tokens);
  return tokens;
}

// The text of the Error that `call` throws; it must be one line.
template <class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return {};
}

inline ::testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "'" << part << "' is not in: " << text;
}

}  // namespace tessera::test
