// print_tokens TOKENIZER: encodes the documents of stdin. Each is its number of bytes (uint32) and
// the bytes; on stdout each becomes the number of ids, the ids (all uint32), the number of bytes
// that they decode to, and those bytes. Little endian.
#include <cstdio>
#include <exception>

#include "data/tokenizer.h"

namespace tessera {
namespace {

void write_number(size_t number) {
  const auto value = uint32_t(number);
  std::fwrite(&value, sizeof value, 1, stdout);
}

void print_tokens(const char* path) {
  const auto tokenizer = load_tokenizer(path);
  std::string document;
  for (uint32_t size = 0; std::fread(&size, sizeof size, 1, stdin) == 1;) {
    document.resize(size);
    check(std::fread(document.data(), 1, size, stdin) == size, "the last document is cut");
    const std::vector<TokenId> ids = tokenizer->encode(document);
    write_number(ids.size());
    std::fwrite(ids.data(), sizeof(TokenId), ids.size(), stdout);
    const std::string decoded = tokenizer->decode(ids);
    write_number(decoded.size());
    std::fwrite(decoded.data(), 1, decoded.size(), stdout);
  }
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  try {
    tessera::check(argc == 2, "usage: print_tokens TOKENIZER < DOCUMENTS");
    tessera::print_tokens(argv[1]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "print_tokens: %s\n", error.what());
    return 1;
  }
}
