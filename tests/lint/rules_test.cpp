// Every rule must find a planted violation, and nothing in a file that keeps it.
#include "tests/lint/rules.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tessera::lint {
namespace {

size_t count_at(const Violations& found, const std::string& path, size_t line) {
  return size_t(std::ranges::count_if(
      found, [&](const Violation& v) { return v.path == path && v.line == line; }));
}

std::string repeat(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

TEST(Includes, PointOnlyDownwards) {
  const SourceTree good{
      {"core/a.h", "#include <vector>\n"},
      {"data/b.h", "#include \"core/a.h\"\n"},
      {"kernels/c.h", "#include \"core/a.h\"\n"},
      {"model/d.h", "#include \"kernels/c.h\"\n"},
      {"train/e.cpp", "#include \"data/b.h\"\n#include \"model/d.h\"\n"},
      {"tests/f.cpp", "#include \"train/e.cpp\"\n"},
  };
  EXPECT_EQ(to_text(check_includes(good)), "");
  const std::vector<std::pair<std::string, std::string>> upwards{
      {"core/x.h", "kernels/c.h"}, {"kernels/x.h", "model/d.h"}, {"model/x.h", "train/e.cpp"},
      {"data/x.h", "kernels/c.h"}, {"kernels/x.h", "data/b.h"},  {"train/x.h", "tests/f.cpp"}};
  for (const auto& [path, include] : upwards) {
    SourceTree bad = good;
    bad.push_back({path, "\n#  include \"" + include + "\"  // why\n"});
    EXPECT_EQ(count_at(check_includes(bad), path, 2), 1U) << path << " includes " << include;
  }
}

TEST(Includes, ArePathsFromTheRoot) {
  const SourceTree tree{{"core/a.h", ""},
                        {"core/b.h", "#include \"a.h\"\n#include \"../core/a.h\"\n"},
                        {"core/c.h", "#include <core/a.h>\n"}};
  const Violations found = check_includes(tree);
  EXPECT_EQ(count_at(found, "core/b.h", 1), 1U);
  EXPECT_EQ(count_at(found, "core/b.h", 2), 1U);
  EXPECT_EQ(count_at(found, "core/c.h", 1), 1U);
}

TEST(Includes, CudaHeadersOnlyAtDeviceCode) {
  const std::string text = "#include <cuda_runtime.h>\n";
  const SourceTree good{{"kernels/rope/mma_rope.cu", text},
                        {"kernels/launch/cuda/launch.h", text},
                        {"core/memory/cuda_memory.cpp", text},
                        {"kernels/linear/cublaslt.cpp", "#include <cublasLt.h>\n"},
                        {"train/distributed/nccl.cpp", "#include <nccl.h>\n"}};
  EXPECT_EQ(to_text(check_includes(good)), "");
  for (const std::string path :
       {"kernels/rope/op.cpp", "core/tensor.h", "train/main.cpp", "kernels/linear/kernel.cpp"}) {
    EXPECT_EQ(count_at(check_includes({{path, text}}), path, 1), 1U) << path;
  }
}

TEST(DeviceCode, OnlyWhereItLives) {
  const std::string kernel = "__global__ void f() {}\n";
  EXPECT_EQ(to_text(check_device_code({{"kernels/rope/rope.cu", kernel}})), "");
  EXPECT_EQ(to_text(check_device_code({{"tests/kernels/launch/warp.cu", kernel}})), "");
  EXPECT_EQ(to_text(check_device_code({{"kernels/a.cu", "#include \"kernels/a.cuh\"\n"}})), "");
  EXPECT_EQ(check_device_code({{"kernels/a.cu", "#include \"kernels/a.h\"\n"}}).size(), 1U);
  EXPECT_EQ(check_device_code({{"model/rope.cu", kernel}}).size(), 1U);
  EXPECT_EQ(check_device_code({{"kernels/rope.cu", "// __global__\nvoid f() {}\n"}}).size(), 1U);
}

TEST(Kinds, BinariesOnlyInGolden) {
  const SourceTree good{{"core/a.h", ""},
                        {"LICENSE", ""},
                        {"tools/test", ""},
                        {"tests/golden/formats/model.safetensors", std::string(1, '\0')}};
  EXPECT_EQ(to_text(check_kinds(good)), "");
  for (const std::string path : {"x.cubin", "core/a.o", "kernels/a.out", "core/LICENSE"}) {
    EXPECT_EQ(count_at(check_kinds({{path, ""}}), path, 0), 1U) << path;
  }
}

TEST(Sizes, ColumnsAndLines) {
  EXPECT_EQ(to_text(check_sizes({{"core/a.h", std::string(100, 'x') + "\n"}})), "");
  EXPECT_EQ(count_at(check_sizes({{"core/a.h", "\n" + std::string(101, 'x')}}), "core/a.h", 2), 1U);
  EXPECT_EQ(to_text(check_sizes({{"core/a.h", repeat("\u00b5", 100)}})), "");  // two bytes each
  EXPECT_EQ(to_text(check_sizes({{"README.md", std::string(200, 'x')}})), "");
  EXPECT_EQ(check_sizes({{"core/CMakeLists.txt", std::string(101, 'x')}}).size(), 1U);
  EXPECT_EQ(to_text(check_sizes({{"core/a.cpp", repeat("\n", 500)}})), "");
  EXPECT_EQ(count_at(check_sizes({{"core/a.cpp", repeat("\n", 501)}}), "core/a.cpp", 0), 1U);
}

TEST(Functions, CountsFromSignatureToBrace) {
  const auto function = [](int lines) {
    return "int f(int a,\n" + repeat("\n", lines - 2) + "}\n";
  };
  const auto with = [&](const std::string& before, int lines) {
    std::string body = function(lines);
    body.insert(body.find(",\n") + 2, "int b) {");
    return SourceTree{{"core/a.cpp", before + body}};
  };
  for (const std::string before :
       {"", "namespace a {\n", "class A : public B {\n public:\n", "int x[] = {\n1};\n",
        "template <class T>\nstruct A {\n T t = {};\n", "#define F(x) do {\n",
        "char c = '{'; auto s = R\"({)\"; // {\n", "void g(int a = {}) { if (a) { h(); } }\n"}) {
    EXPECT_EQ(to_text(check_functions(with(before, 60))), "") << before;
    const size_t line = 1 + size_t(std::ranges::count(before, '\n'));
    EXPECT_EQ(count_at(check_functions(with(before, 61)), "core/a.cpp", line), 1U) << before;
  }
}

TEST(Functions, TypesAndTablesMayBeLong) {
  const std::string lines = repeat("int x;\n", 100);
  EXPECT_EQ(to_text(check_functions({{"core/a.h", "struct A {\n" + lines + "};\n"}})), "");
  EXPECT_EQ(to_text(check_functions({{"core/a.h", "int t[] = {\n" + repeat("1,\n", 100) + "};"}})),
            "");
}

TEST(Functions, DefaultArgumentsInBraces) {
  const std::string text = "void f(Shape s = {}, int n = 1) {\n" + repeat("g();\n", 60) + "}\n";
  EXPECT_EQ(count_at(check_functions({{"core/a.cpp", text}}), "core/a.cpp", 1), 1U);
}

TEST(Words, NotesOfUnfinishedWork) {
  EXPECT_EQ(to_text(check_words({{"core/a.h", "// stubborn, a.XXXXXX, xxx\n"}})), "");
  for (const std::string word : {"TO*DO", "Fix*me", "X*XX", "a st*ub.", "place*holders"}) {
    std::string note = word;  // without the star that keeps this file from breaking the rule
    note.erase(note.find('*'), 1);
    EXPECT_EQ(count_at(check_words({{"docs/a.md", "\n" + note}}), "docs/a.md", 2), 1U) << note;
  }
}

TEST(PragmaOnce, InHeadersOnly) {
  EXPECT_EQ(to_text(check_pragma_once(
                {{"core/a.h", "// Why.\n#pragma once\n"}, {"core/a.cpp", "#include <vector>\n"}})),
            "");
  EXPECT_EQ(check_pragma_once({{"core/a.h", "// #pragma once\nint x;\n"}}).size(), 1U);
  EXPECT_EQ(check_pragma_once({{"core/a.h", "int x;\n#pragma once\n"}}).size(), 1U);
  EXPECT_EQ(check_pragma_once({{"core/a.cpp", "#pragma once\n"}}).size(), 1U);
}

}  // namespace
}  // namespace tessera::lint
