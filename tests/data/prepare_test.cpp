#include "data/prepare.h"

#include <gtest/gtest.h>

#include "tests/data/support.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using namespace test;

class Prepare : public ::testing::Test {
 protected:
  PrepareConfig config(std::vector<std::string> inputs, const std::string& tokenizer = "byte") {
    PrepareConfig result;
    for (std::string& input : inputs) input = (folder / input).string();
    result.corpus.inputs = std::move(inputs);
    result.output = folder / "out.h5";
    result.tokenizer = tokenizer;
    result.val_fraction = 0;
    return result;
  }

  static PrepareSummary run(const PrepareConfig& config) {
    return prepare(config, [](const PrepareProgress&) {});
  }

  std::string error(const PrepareConfig& config) {
    const std::string text = error_of([&] { run(config); });
    EXPECT_FALSE(fs::exists(folder / "out.h5"));
    EXPECT_FALSE(fs::exists(folder / "out.h5.tmp"));
    return text;
  }

  // The text of a split, '|' for the separator.
  std::string text_of(Split split) {
    TokenFile file(folder / "out.h5");
    const auto tokenizer = file.tokenizer();
    std::string text;
    for (int32_t id : read_split(file, split)) {
      text +=
          TokenId(id) == tokenizer->separator() ? "|" : tokenizer->decode(std::vector{TokenId(id)});
    }
    return text;
  }

  TemporaryFolder folder;
};

TEST_F(Prepare, FilesFoldersGlobsInOrderAndOnce) {
  write_text(folder / "in/b.txt", "B");
  write_text(folder / "in/a.md", "A");
  write_text(folder / "in/deep/c.txt", "C");
  write_text(folder / "in/.hidden/d.txt", "D");
  write_text(folder / "in/.e.txt", "E");
  write_text(folder / "z.txt", "Z");
  run(config({"z.txt", "in", "in/b.txt"}));
  EXPECT_EQ(text_of(Split::train), "Z|A|B|C|");
  run(config({"in/*.txt"}));
  EXPECT_EQ(text_of(Split::train), "B|");
  PrepareConfig with_patterns = config({"in", "z.txt"});
  with_patterns.corpus.patterns = {"*.txt"};
  run(with_patterns);
  EXPECT_EQ(text_of(Split::train), "B|C|Z|");
  with_patterns.corpus.patterns = {"*.md", "deep/*"};
  run(with_patterns);
  EXPECT_EQ(text_of(Split::train), "A|C|Z|");
}

TEST_F(Prepare, TheOutputIsNotItsOwnInput) {
  write_text(folder / "in/a.txt", "A");
  PrepareConfig inside = config({"in"});
  inside.output = folder / "in/out.h5";
  for (int repeat = 0; repeat < 2; ++repeat) EXPECT_EQ(run(inside).files, 1u);
}

TEST_F(Prepare, TheTokenizerWrittenBesideItIsNoInputEither) {
  write_text(folder / "in/a.txt", "to be or not to be");
  PrepareConfig inside = config({"in"}, "");
  inside.train_vocabulary = 300;
  inside.output = folder / "in/out.h5";
  inside.save_tokenizer = folder / "in/tokenizer.json";
  for (int repeat = 0; repeat < 2; ++repeat) EXPECT_EQ(run(inside).files, 1u);
  inside.save_tokenizer = folder / "in/../in/out.h5";
  EXPECT_TRUE(contains(error_of([&] { run(inside); }), "both to be written to"));
}

TEST_F(Prepare, LearningATokenizerMayBeStopped) {
  write_text(folder / "a.txt", "to be or not to be");
  PrepareConfig learning = config({"a.txt"}, "");
  learning.train_vocabulary = 300;
  const std::string text = error_of([&] {
    prepare(learning, [](const PrepareProgress& progress) {
      if (std::string_view(progress.stage) == "learning") fail("stop at {}", progress.tokens);
    });
  });
  EXPECT_EQ(text, "stop at 258");
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"a.txt"});
}

TEST_F(Prepare, JsonLinesAreDocuments) {
  write_text(folder / "a.jsonl",
             "{\"text\": \"one\\n\", \"id\": 1}\n\n{\"text\":\"\"}\r\n{\"id\": 2, \"text\": "
             "\"tw\\u00e9\"}");
  const PrepareSummary summary = run(config({"a.jsonl"}, "char"));
  EXPECT_EQ(summary.train.documents, 2u);
  EXPECT_EQ(summary.train.tokens, 7u);
  EXPECT_EQ(summary.bytes, 8u);
  EXPECT_EQ(summary.vocabulary_size, 7u);  // o n e \n t w é
  EXPECT_EQ(text_of(Split::train), "one\ntwé");
  PrepareConfig other = config({"a.jsonl"});
  other.corpus.field = "id";
  EXPECT_TRUE(contains(error_of([&] { run(other); }), "a.jsonl:1: field 'id' is not a string"));
}

TEST_F(Prepare, BadJsonLinesAreNamed) {
  const auto error_for = [&](const std::string& line) {
    write_text(folder / "a.jsonl", "{\"text\": \"good\"}\n" + line + "\n");
    const std::string text = error(config({"a.jsonl"}));
    EXPECT_TRUE(contains(text, (folder / "a.jsonl").string() + ":2: "));
    return text;
  };
  EXPECT_TRUE(
      contains(error_for("{\"body\": \"x\"}"), "no field 'text'; name another with --field"));
  EXPECT_TRUE(contains(error_for("{\"text\": "), "not JSON"));
  EXPECT_TRUE(contains(error_for("[1]"), "not a JSON object"));
  EXPECT_TRUE(contains(error_for("{\"text\": \"\xFF\"}"), "not JSON"));
}

// As nanoGPT splits its Shakespeare: the first int(0.9 n) characters for training.
TEST_F(Prepare, TailOfOneDocument) {
  std::string text;
  for (int i = 0; i < 1115; ++i) text.push_back(char('a' + i * i % 17));
  write_text(folder / "a.txt", text);
  for (const char* tokenizer : {"char", "byte"}) {
    PrepareConfig tail = config({"a.txt"}, tokenizer);
    tail.split = SplitRule::tail;
    tail.val_fraction = 0.1;
    const PrepareSummary summary = run(tail);
    EXPECT_EQ(summary.train.tokens, 1003u);
    EXPECT_EQ(summary.val.tokens, 112u);
    EXPECT_EQ(text_of(Split::train), text.substr(0, 1003));
    EXPECT_EQ(text_of(Split::val), text.substr(1003));
  }
}

TEST_F(Prepare, TailCutsTheDocumentItFallsInto) {
  write_text(folder / "a.txt", "aaaa");
  write_text(folder / "b.txt", "bbbbb");
  PrepareConfig tail = config({"a.txt", "b.txt"});
  tail.split = SplitRule::tail;
  tail.val_fraction = 0.2;
  run(tail);  // aaaa|bbbbb
  EXPECT_EQ(text_of(Split::train), "aaaa|bbb");
  EXPECT_EQ(text_of(Split::val), "bb");
  TokenFile file(folder / "out.h5");
  EXPECT_EQ(file.document_count(Split::train), 2u);
  EXPECT_EQ(file.document(Split::train, 1).begin, 5u);
  tail.val_fraction = 0.6;
  run(tail);
  EXPECT_EQ(text_of(Split::train), "aaaa");
  EXPECT_EQ(text_of(Split::val), "|bbbbb");
}

TEST_F(Prepare, DocumentsAreDrawnBySeed) {
  std::string lines;
  for (int i = 0; i < 2000; ++i) lines += fmt::format("{{\"text\": \"{}\"}}\n", i);
  write_text(folder / "a.jsonl", lines);
  PrepareConfig drawn = config({"a.jsonl"}, "char");
  drawn.val_fraction = 0.25;
  const PrepareSummary summary = run(drawn);
  EXPECT_EQ(summary.train.documents + summary.val.documents, 2000u);
  EXPECT_EQ(summary.train.tokens + summary.val.tokens, 10u + 90 * 2 + 900 * 3 + 1000 * 4);
  EXPECT_NEAR(double(summary.val.documents), 500.0, 5 * std::sqrt(2000 * 0.25 * 0.75));
  const std::string first = text_of(Split::val);
  run(drawn);
  EXPECT_EQ(text_of(Split::val), first);
  drawn.seed = 1;
  run(drawn);
  EXPECT_NE(text_of(Split::val), first);
}

// Longer than a read, with characters across the reads' borders.
TEST_F(Prepare, LongDocumentsAreStreamed) {
  std::string text = "x";
  while (text.size() < 3 << 20) text += "é\u20AC\U0001F600";
  write_text(folder / "a.txt", text);
  for (const char* tokenizer : {"char", "byte"}) {
    PrepareConfig whole = config({"a.txt"}, tokenizer);
    whole.split = SplitRule::tail;
    const PrepareSummary summary = run(whole);
    EXPECT_EQ(summary.train.documents, 1u);
    EXPECT_EQ(summary.bytes, text.size());
    EXPECT_EQ(text_of(Split::train), text);
  }
}

// What a tokenizer leaves unused is shown again, but not once for every MiB that follows.
TEST_F(Prepare, TextThatIsNotUsedIsShownAFewTimesOnly) {
  const uint64_t size = 20 << 20;
  write_text(folder / "a.txt", std::string(size, 'a'));
  uint64_t shown = 0, read = 0;
  const auto whole_only = [&](const TextPart& part) {
    shown += part.bytes.size();
    return part.last ? part.bytes.size() : 0;
  };
  Corpus({.inputs = {(folder / "a.txt").string()}}).visit(whole_only, [&](uint64_t bytes) {
    EXPECT_LE(bytes - read, uint64_t{1} << 20);
    read = bytes;
  });
  EXPECT_EQ(read, size);
  EXPECT_LE(shown, 3 * size);
}

TEST_F(Prepare, ProgressReachesTheEnd) {
  write_text(folder / "a.txt", std::string(3 << 20, 'a'));
  PrepareProgress last;
  prepare(config({"a.txt"}), [&](const PrepareProgress& progress) {
    EXPECT_GE(progress.bytes, last.bytes);
    last = progress;
  });
  EXPECT_EQ(last.bytes, last.total_bytes);
  EXPECT_EQ(last.total_bytes, uint64_t{3} << 20);
}

TEST_F(Prepare, StoppingLeavesNothing) {
  write_text(folder / "a.txt", std::string(3 << 20, 'a'));
  for (SplitRule rule : {SplitRule::documents, SplitRule::tail}) {
    PrepareConfig stopped = config({"a.txt"});
    stopped.split = rule;
    const std::string text = error_of([&] {
      prepare(stopped, [](const PrepareProgress& progress) {
        if (progress.bytes > 2 << 20) fail("stop");
      });
    });
    EXPECT_EQ(text, "stop");
    EXPECT_EQ(folder.entries(), std::vector<std::string>{"a.txt"});
  }
}

// Short documents are encoded on all cores, a long one in parts.
TEST_F(Prepare, DocumentsKeepTheirOrderAndBeginAndEndAsTheTokenizerSays) {
  const std::string file = TESSERA_GOLDEN_TOKENIZERS "/llama3.json";
  const auto tokenizer = load_tokenizer(file);
  std::string lines;
  std::vector<TokenId> expected;
  const auto expect = [&](const std::string& text) {
    const std::vector<TokenId> ids = tokenizer->encode(text);
    expected.push_back(*tokenizer->begin_of_sequence());
    expected.insert(expected.end(), ids.begin(), ids.end());
    expected.push_back(*tokenizer->separator());
  };
  for (int i = 0; i < 2000; ++i) {
    const std::string text = fmt::format("document {} of many", i * 7919);
    lines += "{\"text\": \"" + text + "\"}\n";
    expect(text);
  }
  // Longer than a part, with no place to cut it.
  const std::string line = std::string(1'500'000, '7');
  expect(line);
  std::string book;
  for (int i = 0; book.size() < 3'000'000; ++i) book += fmt::format("Sentence {} of a book. ", i);
  expect(book);
  expect("the end");
  write_text(folder / "a.jsonl", lines);
  write_text(folder / "line.txt", line);
  write_text(folder / "b.txt", book);
  write_text(folder / "c.txt", "the end");
  const PrepareSummary summary = run(config({"a.jsonl", "line.txt", "b.txt", "c.txt"}, file));
  EXPECT_EQ(summary.train.documents, 2003u);
  TokenFile tokens(folder / "out.h5");
  EXPECT_EQ(read_split(tokens, Split::train),
            std::vector<int32_t>(expected.begin(), expected.end()));
}

TEST_F(Prepare, BadInput) {
  write_text(folder / "a.txt", "abc");
  write_text(folder / "empty.txt", "");
  write_text(folder / "bad.txt", "ab\xFF");
  fs::create_directory(folder / "none");
  EXPECT_TRUE(contains(error(config({})), "no input"));
  EXPECT_TRUE(contains(error(config({"nope.txt"})), "no file matches '"));
  EXPECT_TRUE(contains(error(config({"a.txt", "*.nope"})), "no file matches '"));
  EXPECT_TRUE(contains(error(config({"none"})), "no file in '"));
  PrepareConfig unmatched = config({"none", "a.txt"});
  unmatched.corpus.patterns = {"*.cpp", "*.h"};
  EXPECT_TRUE(contains(error(unmatched), "matches '*.cpp,*.h'"));
  EXPECT_TRUE(contains(error(config({"empty.txt"})), "has no text"));
  EXPECT_TRUE(contains(error(config({"empty.txt"}, "char")), "no text"));
  EXPECT_TRUE(contains(error(config({"bad.txt"}, "char")), "bad.txt: invalid UTF-8 at byte 2"));
  EXPECT_TRUE(contains(error(config({"a.txt"}, "morse")), "unknown tokenizer 'morse'"));
  PrepareConfig one_document = config({"a.txt"});
  one_document.val_fraction = 1e-9;
  EXPECT_TRUE(contains(error(one_document), "none is left for val; use --split tail"));
  one_document.val_fraction = 1;
  EXPECT_TRUE(contains(error(one_document), "at least 0 and below 1"));
  PrepareConfig nowhere = config({"a.txt"});
  nowhere.output = folder / "a.txt/out.h5";
  EXPECT_TRUE(contains(error(nowhere), "a.txt is not a folder"));
  EXPECT_EQ(folder.entries().size(), 4u);
}

}  // namespace
}  // namespace tessera
