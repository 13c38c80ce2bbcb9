#include "data/token_store.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <numeric>

#include "core/hdf5/handle.h"
#include "core/random.h"
#include "tests/data/support.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using namespace test;

TEST(TokenStore, RoundTripsTokensAndDocuments) {
  const TemporaryFolder folder;
  for (uint32_t vocabulary : {300u, 65536u, 65537u, 200000u}) {
    const Documents train{{1, 2, 3}, {vocabulary - 1}, {5, 6}};
    write_token_file(folder / "a.h5", vocabulary, train, {{7, 8}});
    TokenFile file(folder / "a.h5");
    EXPECT_EQ(file.vocabulary_size(), vocabulary);
    EXPECT_EQ(file.tokenizer_name(), "number");
    EXPECT_EQ(file.tokenizer_hash(), NumberTokenizer(vocabulary).hash());
    EXPECT_EQ(file.document_count(Split::train), 3u);
    EXPECT_EQ(read_split(file, Split::train),
              (std::vector<int32_t>{1, 2, 3, int32_t(vocabulary) - 1, 5, 6}));
    EXPECT_EQ(read_split(file, Split::val), (std::vector<int32_t>{7, 8}));
    EXPECT_EQ(file.document(Split::train, 1).begin, 3u);
    EXPECT_EQ(file.document(Split::train, 1).end, 4u);
    EXPECT_EQ(folder.entries(), std::vector<std::string>{"a.h5"});
  }
}

// The width on disk is part of the format.
TEST(TokenStore, WidthFollowsTheVocabulary) {
  const TemporaryFolder folder;
  for (const auto& [vocabulary, bytes] : {std::pair{65536u, 2u}, std::pair{65537u, 4u}}) {
    write_token_file(folder / "a.h5", vocabulary, {{1}});
    const hdf5::Handle file(H5Fopen((folder / "a.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT));
    const hdf5::Handle tokens(H5Dopen2(file.get(), "train/tokens", H5P_DEFAULT));
    const hdf5::Handle type(H5Dget_type(tokens.get()));
    EXPECT_EQ(H5Tget_size(type.get()), bytes);
  }
}

// More tokens and documents than one write, one chunk, one block of offsets and the cache hold.
TEST(TokenStore, ManyDocumentsAcrossBlocks) {
  const TemporaryFolder folder;
  std::vector<size_t> lengths;
  for (size_t d = 0; d < 20000; ++d) lengths.push_back(1 + d * 7919 % 40);
  const Documents documents = counting_documents(lengths);
  const uint32_t total = documents.back().back() + 1;
  write_token_file(folder / "a.h5", total, documents);
  TokenFile file(folder / "a.h5", 1 << 16);
  std::vector<int32_t> expected(total);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(read_split(file, Split::train), expected);
  for (uint64_t d : {0u, 1u, 4094u, 4095u, 4096u, 4097u, 8191u, 8192u, 19999u}) {
    const TokenRange range = file.document(Split::train, d);
    EXPECT_EQ(range.begin, documents[d].front());
    EXPECT_EQ(range.end, documents[d].back() + 1u);
    EXPECT_EQ(file.document_at(Split::train, range.begin), d);
    EXPECT_EQ(file.document_at(Split::train, range.end - 1), d);
  }
  std::vector<int32_t> some(1000);
  for (uint64_t first : {0u, 16383u, 16384u, 200000u, total - 1000}) {
    file.read(Split::train, first, some);
    EXPECT_EQ(some.front(), int32_t(first));
    EXPECT_EQ(some.back(), int32_t(first) + 999);
  }
}

TEST(TokenStore, DocumentStartsWithinARange) {
  const TemporaryFolder folder;
  write_token_file(folder / "a.h5", 100, counting_documents({3, 1, 1, 5}));
  TokenFile file(folder / "a.h5");
  const auto starts = [&](uint64_t begin, uint64_t end) {
    std::vector<uint64_t> found;
    file.document_starts(Split::train, {begin, end}, found);
    return found;
  };
  EXPECT_EQ(starts(0, 10), (std::vector<uint64_t>{3, 4, 5}));
  EXPECT_EQ(starts(3, 5), (std::vector<uint64_t>{4}));
  EXPECT_EQ(starts(5, 10), std::vector<uint64_t>{});
  EXPECT_EQ(starts(1, 3), std::vector<uint64_t>{});
}

TEST(TokenStore, EmptySplitsAndEmptyDocuments) {
  const TemporaryFolder folder;
  write_token_file(folder / "a.h5", 10, {{}, {1}, {}, {2}, {}});
  TokenFile file(folder / "a.h5");
  EXPECT_EQ(file.document_count(Split::train), 2u);
  EXPECT_EQ(file.token_count(Split::val), 0u);
  EXPECT_EQ(file.document_count(Split::val), 0u);
  EXPECT_TRUE(contains(error_of([&] { file.document_at(Split::val, 0); }), "there are 0"));
}

TEST(TokenStore, CarriesTheTokenizerWhole) {
  const TemporaryFolder folder;
  const auto tokenizer =
      create_tokenizer("char", [](const TextVisitor& visitor) { visitor({.bytes = "text é \n"}); });
  TokenFileWriter writer(folder / "a.h5", *tokenizer);
  writer.append(Split::train, tokenizer->encode("text"));
  writer.finish();
  const TokenFile file(folder / "a.h5");
  EXPECT_EQ(file.tokenizer()->hash(), file.tokenizer_hash());
  EXPECT_EQ(file.document_count(Split::train), 1u);
}

// 256 KiB of vocabulary: far above the 64 KiB that an old-style attribute may hold.
TEST(TokenStore, CarriesLargeTokenizers) {
  const TemporaryFolder folder;
  std::string text;
  for (uint32_t c = 0x10000; c < 0x20000; ++c) {
    for (int shift : {18, 12, 6, 0}) {
      text.push_back(char(shift == 18 ? 0xF0 | c >> 18 : 0x80 | (c >> shift & 0x3F)));
    }
  }
  const auto tokenizer =
      create_tokenizer("char", [&](const TextVisitor& visitor) { visitor({.bytes = text}); });
  TokenFileWriter(folder / "a.h5", *tokenizer).finish();
  EXPECT_EQ(TokenFile(folder / "a.h5").tokenizer()->vocabulary_size(), 65536u);
}

TEST(TokenStore, UnfinishedWriterLeavesNothingAndKeepsTheOldFile) {
  const TemporaryFolder folder;
  write_token_file(folder / "a.h5", 10, {{1, 2, 3}});
  {
    TokenFileWriter writer(folder / "a.h5", NumberTokenizer(20));
    writer.append(Split::train, std::vector<TokenId>(1 << 20, 3));
  }
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"a.h5"});
  EXPECT_EQ(TokenFile(folder / "a.h5").vocabulary_size(), 10u);
}

// A limit on file sizes stands for a full disk. Later files are not hurt by the ones that failed.
TEST(TokenStore, WriterSurvivesAFullDisk) {
  const TemporaryFolder folder;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const Philox random(1, purpose_id("test/noise"), 0);
  std::vector<TokenId> noise;
  for (uint64_t i = 0; i < 1 << 20; ++i) noise.push_back(random.bits(i) % 60000);
  for (rlim_t limit : {200, 8 << 20, 9 << 20, 19 << 19}) {
    const rlimit low{limit, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &low);
    const std::string text = error_of([&] {
      TokenFileWriter writer(folder / "a.h5", NumberTokenizer(60000));
      writer.append(Split::train, noise);
      writer.finish();
    });
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(text, fmt::format("cannot write {}: File too large", (folder / "a.h5").string()));
    EXPECT_EQ(folder.entries(), std::vector<std::string>{});
  }
  write_token_file(folder / "a.h5", 10, {{1, 2, 3}});
  TokenFile file(folder / "a.h5");
  EXPECT_EQ(read_split(file, Split::train), (std::vector<int32_t>{1, 2, 3}));
}

TEST(TokenStore, WriterMakesTheFolder) {
  const TemporaryFolder folder;
  write_token_file(folder / "new/folder/a.h5", 10, {{1, 2, 3}});
  EXPECT_EQ(TokenFile(folder / "new/folder/a.h5").token_count(Split::train), 3u);
}

TEST(TokenStore, WriterRejectsBadIdsAndPlaces) {
  const TemporaryFolder folder;
  TokenFileWriter writer(folder / "a.h5", NumberTokenizer(10));
  EXPECT_TRUE(contains(error_of([&] {
                         writer.append(Split::train, std::vector<TokenId>{9, 10});
                       }),
                       "token id 10 is not below the vocabulary size, 10"));
  write_token_file(folder / "file.h5", 10, {{1, 2, 3}});
  EXPECT_TRUE(
      contains(error_of([&] { TokenFileWriter(folder / "file.h5/a.h5", NumberTokenizer(10)); }),
               "Not a directory"));
  EXPECT_TRUE(contains(error_of([&] { TokenFileWriter(folder.path(), NumberTokenizer(10)); }),
                       "is a folder"));
}

TEST(TokenStore, ModelVocabularyMustHoldTheFiles) {
  const TemporaryFolder folder;
  write_token_file(folder / "a.h5", 300, {{1}});
  const TokenFile file(folder / "a.h5");
  check_vocabulary(file, 300);
  check_vocabulary(file, 320);
  const std::string error = error_of([&] { check_vocabulary(file, 299); });
  EXPECT_TRUE(contains(error, "a vocabulary of 300 ids"));
  EXPECT_TRUE(contains(error, "set model.vocab_size to at least 300"));
}

// --- files that are not what they should be ---

class BadTokenFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<TokenId> noise(50000);
    for (size_t i = 0; i < noise.size(); ++i) noise[i] = uint32_t(i * 2654435761u >> 20) % 1000;
    write_token_file(path, 1000, {noise, {1, 2, 3}}, {{4, 5}});
  }

  std::string open_error() {
    const std::string text = error_of([&] { TokenFile file(path); });
    EXPECT_TRUE(contains(text, path.string()));
    return text;
  }

  // Changes the file behind the reader's back.
  template <class Edit>
  void edit(Edit&& change) {
    const hdf5::Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
    ASSERT_TRUE(file);
    change(file.get());
  }

  void replace_dataset(const char* name, hid_t type, const std::vector<hsize_t>& shape,
                       hid_t memory_type, const void* values) {
    edit([&](hid_t file) {
      H5Ldelete(file, name, H5P_DEFAULT);
      const hdf5::Handle space(H5Screate_simple(int(shape.size()), shape.data(), nullptr));
      const hdf5::Handle data(
          H5Dcreate2(file, name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
      ASSERT_GE(H5Dwrite(data.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
    });
  }

  void replace_val_offsets(const std::vector<uint64_t>& offsets) {
    replace_dataset("val/document_offsets", H5T_STD_U64LE, {offsets.size()}, H5T_NATIVE_UINT64,
                    offsets.data());
  }

  TemporaryFolder folder;
  fs::path path = folder / "a.h5";
};

TEST_F(BadTokenFile, Missing) {
  fs::remove(path);
  EXPECT_TRUE(contains(open_error(), "does not exist"));
}

TEST_F(BadTokenFile, Folder) {
  path = folder.path();
  EXPECT_TRUE(contains(open_error(), "is a folder"));
}

TEST_F(BadTokenFile, NotHdf5) {
  for (const std::string& text :
       {std::string(), std::string("some text\n"), std::string(5000, 'x')}) {
    write_text(path, text);
    EXPECT_TRUE(contains(open_error(), "is not an HDF5 file"));
  }
}

TEST_F(BadTokenFile, Truncated) {
  const std::string whole = read_text(path);
  for (size_t size : {whole.size() - 1, whole.size() / 2, size_t{100}}) {
    write_text(path, whole.substr(0, size));
    EXPECT_TRUE(contains(open_error(), "truncated")) << size;
  }
}

TEST_F(BadTokenFile, ForeignHdf5) {
  fs::remove(path);
  { const hdf5::Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)); }
  EXPECT_TRUE(contains(open_error(), "is not a token file: it has no attribute 'format'"));
}

TEST_F(BadTokenFile, MissingParts) {
  const std::string whole = read_text(path);
  for (const char* name :
       {"format_version", "tokenizer", "tokenizer_hash", "tokenizer_json", "vocabulary_size"}) {
    edit([&](hid_t file) { H5Adelete(file, name); });
    EXPECT_TRUE(contains(open_error(), fmt::format("no attribute '{}'", name)));
    write_text(path, whole);
  }
  for (const char* name : {"train", "val", "train/tokens", "val/document_offsets"}) {
    edit([&](hid_t file) { H5Ldelete(file, name, H5P_DEFAULT); });
    EXPECT_TRUE(contains(open_error(), fs::path(name).filename().string()));
    write_text(path, whole);
  }
}

TEST_F(BadTokenFile, AttributesOfWrongTypeOrValue) {
  const std::string whole = read_text(path);
  const auto replace = [&](const char* name, uint32_t value) {
    edit([&](hid_t file) {
      H5Adelete(file, name);
      const hdf5::Handle space(H5Screate(H5S_SCALAR));
      const hdf5::Handle attribute(
          H5Acreate2(file, name, H5T_STD_U32LE, space.get(), H5P_DEFAULT, H5P_DEFAULT));
      H5Awrite(attribute.get(), H5T_NATIVE_UINT32, &value);
    });
    const std::string text = open_error();
    write_text(path, whole);
    return text;
  };
  EXPECT_TRUE(contains(replace("tokenizer", 1), "'tokenizer' is not a variable-length string"));
  EXPECT_TRUE(contains(replace("format_version", 3), "version 3, this program reads versions 1"));
  EXPECT_TRUE(contains(replace("vocabulary_size", 0), "vocabulary size 0 is out of range"));
  EXPECT_TRUE(contains(replace("vocabulary_size", 1u << 31), "is out of range"));
}

TEST_F(BadTokenFile, DatasetsOfWrongTypeOrShape) {
  const std::string whole = read_text(path);
  const std::vector<float> floats{4, 5};
  replace_dataset("val/tokens", H5T_IEEE_F32LE, {2}, H5T_NATIVE_FLOAT, floats.data());
  EXPECT_TRUE(contains(open_error(), "val/tokens does not hold unsigned integers of 2 or 4 bytes"));
  write_text(path, whole);
  const std::vector<uint32_t> numbers{4, 5};
  replace_dataset("val/tokens", H5T_STD_I32LE, {2}, H5T_NATIVE_UINT32, numbers.data());
  EXPECT_TRUE(contains(open_error(), "does not hold unsigned integers"));
  write_text(path, whole);
  replace_dataset("val/tokens", H5T_STD_U16LE, {1, 2}, H5T_NATIVE_UINT32, numbers.data());
  EXPECT_TRUE(contains(open_error(), "val/tokens does not have one dimension"));
}

TEST_F(BadTokenFile, OffsetsThatAreWrong) {
  replace_val_offsets({});
  EXPECT_TRUE(contains(open_error(), "is empty"));
  replace_val_offsets({1, 2});
  EXPECT_TRUE(contains(open_error(), "document_offsets[0] is 1"));
  replace_val_offsets({0, 2, 1});
  EXPECT_TRUE(contains(open_error(), "document_offsets[2] is 1 after 2"));
  replace_val_offsets({0, 1, 1, 2});
  EXPECT_TRUE(contains(open_error(), "document_offsets[2] is 1 after 1"));
  replace_val_offsets({0, 1, 3});
  EXPECT_TRUE(contains(open_error(), "ends at 3, but there are 2 tokens"));
  replace_val_offsets({0, 1});
  EXPECT_TRUE(contains(open_error(), "ends at 1, but there are 2 tokens"));
}

TEST_F(BadTokenFile, TokenIdOutsideTheVocabulary) {
  const std::vector<uint32_t> bad{999, 1000};
  replace_dataset("val/tokens", H5T_STD_U16LE, {2}, H5T_NATIVE_UINT32, bad.data());
  TokenFile file(path);
  const std::string text = error_of([&] { read_split(file, Split::val); });
  EXPECT_TRUE(contains(text, path.string() + ":val/tokens[1] is token id 1000"));
  EXPECT_TRUE(contains(text, "1000 ids"));
  std::vector<int32_t> first(1);
  file.read(Split::val, 0, first);
  EXPECT_EQ(first[0], 999);
}

TEST_F(BadTokenFile, IdsAboveInt32) {
  const std::vector<uint32_t> bad{4, 0xFFFFFFFF};
  replace_dataset("val/tokens", H5T_STD_U32LE, {2}, H5T_NATIVE_UINT32, bad.data());
  TokenFile file(path);
  EXPECT_TRUE(contains(error_of([&] { read_split(file, Split::val); }), "token id 4294967295"));
}

// Flips one byte in the middle of compressed tokens.
TEST_F(BadTokenFile, DamagedChunk) {
  std::string bytes = read_text(path);
  bytes[bytes.size() / 2] = char(bytes[bytes.size() / 2] ^ 0x55);
  write_text(path, bytes);
  const std::string text = error_of([&] {
    TokenFile file(path);
    read_split(file, Split::train);
  });
  EXPECT_TRUE(contains(text, path.string() + ":train/tokens: cannot read elements 0 to 50003"));
}

TEST_F(BadTokenFile, ReadBeyondTheEnd) {
  TokenFile file(path);
  std::vector<int32_t> out(3);
  EXPECT_TRUE(contains(error_of([&] { file.read(Split::val, 0, out); }), "there are 2"));
  EXPECT_TRUE(contains(error_of([&] { file.read(Split::val, ~uint64_t{0}, out); }), "there are 2"));
  EXPECT_TRUE(contains(error_of([&] { file.document(Split::val, 1); }), "there are 1"));
}

}  // namespace
}  // namespace tessera
