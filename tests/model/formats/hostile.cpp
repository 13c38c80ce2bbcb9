#include "tests/model/formats/hostile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/random.h"
#include "model/formats/gguf.h"
#include "model/formats/huggingface.h"
#include "model/formats/llama2c.h"
#include "tests/data/support.h"

namespace {

// The largest block that operator new was asked for while it is watched.
std::atomic<size_t> largest_block = 0;

}  // namespace

void* operator new(size_t size) {
  if (size > largest_block.load(std::memory_order_relaxed)) largest_block = size;
  if (void* block = std::malloc(size > 0 ? size : 1)) return block;
  throw std::bad_alloc();
}
void operator delete(void* block) noexcept {
  std::free(block);
}
void operator delete(void* block, size_t) noexcept {
  std::free(block);
}

namespace tessera::test {
namespace {

namespace fs = std::filesystem;

// Blocks of at most this size depend on no file: the parts of a path, an error's text.
constexpr size_t kSmallBlock = 512;

// Numbers that mistakes of readers hide behind.
constexpr uint64_t kNumbers[] = {0,
                                 1,
                                 8,
                                 255,
                                 0x7fffffff,
                                 0x80000000,
                                 0xffffffff,
                                 uint64_t{1} << 32,
                                 uint64_t{1} << 53,
                                 uint64_t{1} << 61,
                                 (uint64_t{1} << 62) + 1,
                                 0x7fffffffffffffff,
                                 0x8000000000000000,
                                 0xffffffffffffffff};

class Mutator {
 public:
  Mutator(const std::string& name, int64_t index)
      : random_(0, purpose_id("hostile/" + name), uint32_t(index)) {}

  std::string mutate(std::string bytes) {
    const uint64_t times = 1 + below(3);
    for (uint64_t i = 0; i < times; ++i) mutate_once(bytes);
    return bytes;
  }

 private:
  uint64_t below(uint64_t limit) { return limit > 0 ? random_.below(draws_++, limit) : 0; }
  // Headers are where mistakes matter: half of the places are in the first 4 KiB.
  size_t place(const std::string& bytes) {
    return below(2) == 0 ? below(bytes.size()) : below(std::min<size_t>(bytes.size(), 4096));
  }

  void mutate_once(std::string& bytes) {
    if (bytes.empty()) return;
    const size_t at = place(bytes);
    switch (below(8)) {
      case 0:
        return bytes.resize(at);
      case 1:
        bytes[at] = char(bytes[at] ^ (1 << below(8)));
        return;
      case 2:
        bytes[at] = char(below(256));
        return;
      case 3:
      case 4:
        return replace_number(bytes, at);
      case 5:
        bytes.erase(at, 1 + below(64));
        return;
      case 6:
        bytes.insert(at, bytes.substr(at, 1 + below(64)));
        return;
      case 7:
        return change_digit(bytes, at);
    }
  }

  void replace_number(std::string& bytes, size_t at) {
    const uint64_t number = kNumbers[below(std::size(kNumbers))] + below(2);
    const size_t size = std::min<size_t>(below(2) == 0 ? 8 : 4, bytes.size() - at);
    std::memcpy(bytes.data() + at, &number, size);
  }

  // The next digit of a text becomes a long number, a minus sign or another digit.
  void change_digit(std::string& bytes, size_t at) {
    const size_t digit = bytes.find_first_of("0123456789", at);
    if (digit == std::string::npos) return;
    const uint64_t kind = below(4);
    if (kind == 0) bytes.insert(digit, std::to_string(kNumbers[below(std::size(kNumbers))]));
    if (kind == 1) bytes.insert(digit, "-");
    if (kind >= 2) bytes[digit] = char('0' + below(10));
  }

  Philox random_;
  uint64_t draws_ = 0;
};

std::unique_ptr<WeightSource> open_weights(const fs::path& path) {
  if (fs::is_directory(path)) return open_huggingface(path).weights;
  if (path.extension() == ".gguf") return open_gguf(path).weights;
  return open_llama2c(path).weights;
}

// Opens the model and reads every weight.
void read_model(const fs::path& path) {
  const std::unique_ptr<WeightSource> source = open_weights(path);
  std::vector<float> values;
  for (const WeightInfo& info : source->weights()) {
    values.resize(size_t(info.shape.elements()));
    source->read_rows(info.name, 0, info.shape[0], values.data());
  }
}

void read_one(const fs::path& path, size_t file_bytes, HostileResult& result) {
  largest_block = 0;
  try {
    read_model(path);
    ++result.accepted;
  } catch (const Error& error) {
    ++result.refused;
    EXPECT_EQ(std::strchr(error.what(), '\n'), nullptr) << error.what();
  }
  EXPECT_LE(largest_block.load(), std::max(file_bytes, kSmallBlock));
}

}  // namespace

HostileResult read_mutations(const fs::path& folder, const std::string& name, int64_t count) {
  const TemporaryFolder copy;
  fs::copy(folder, copy / "model");
  const fs::path file = copy / "model" / name;
  const std::string original = read_text(file);
  const bool alone = !fs::exists(copy / "model/config.json");
  size_t folder_bytes = 0;
  for (const auto& entry : fs::directory_iterator(copy / "model"))
    folder_bytes += entry.file_size();
  HostileResult result;
  for (int64_t i = 0; i < count && !testing::Test::HasFailure(); ++i) {
    const std::string mutated = Mutator(name, i).mutate(original);
    write_text(file, mutated);
    SCOPED_TRACE(fmt::format("mutation {} of {}", i, name));
    read_one(alone ? file : copy / "model", folder_bytes - original.size() + mutated.size(),
             result);
  }
  return result;
}

}  // namespace tessera::test
