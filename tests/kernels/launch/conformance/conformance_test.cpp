// Golden data: the words that a GPU gave, in tests/golden/gpu_conformance.txt. Written there, on a
// machine with an H100 or H200, by
//   TESSERA_WRITE_GOLDEN=gpu_conformance.txt test_conformance
// Until the file exists the emulator is compared with nothing here: those tests are skipped and say
// so. On a GPU it is compared with the GPU itself.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "kernels/launch/gpu/dispatch.h"
#include "kernels/launch/gpu/limits.h"
#include "kernels/launch/simt/emulator.h"
#include "tests/kernels/launch/conformance/conformance.h"

namespace tessera::test {
namespace {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;
using Golden = std::map<std::string, std::vector<uint32_t>>;

std::vector<ConformanceCase> cases_of(Context& ctx) {
  std::vector<ConformanceCase> cases;
  int architecture = 0;
  dispatch_gpu(ctx.device(), [&]<Device d>() {
    std::ranges::copy(conformance_cases<d>(), std::back_inserter(cases));
    std::ranges::copy(hopper_cases<d>(), std::back_inserter(cases));
    architecture = gpu_limits<d>(ctx).architecture;
  });
  std::erase_if(cases, [=](const ConformanceCase& c) { return c.architecture > architecture; });
  return cases;
}

ConformanceCase case_of(Context& ctx, std::string_view name) {
  for (const ConformanceCase& c : cases_of(ctx)) {
    if (c.name == name) return c;
  }
  fail("no conformance case {} on {}", name, name_of(ctx.device()));
}

// Lines of a name and words in hexadecimal; empty where there is no file.
Golden read_golden() {
  Golden golden;
  std::ifstream file(TESSERA_GOLDEN "/gpu_conformance.txt");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string name;
    fields >> name >> std::hex;
    golden[name].assign(std::istream_iterator<uint32_t>(fields), {});
  }
  return golden;
}

[[maybe_unused]] void write_golden(const char* path, const std::vector<ConformanceCase>& cases,
                                   Context& ctx) {
  std::ofstream file(path);
  for (const ConformanceCase& c : cases) {
    file << c.name << std::hex;
    for (const uint32_t word : c.run(ctx)) file << ' ' << word;
    file << '\n';
  }
}

bool agrees(uint32_t actual, uint32_t expected, float tolerance) {
  if (tolerance == 0 || actual == expected) return actual == expected;
  const float a = std::bit_cast<float>(actual), e = std::bit_cast<float>(expected);
  return std::abs(a - e) <= tolerance * std::abs(e);
}

AssertionResult same_words(const std::vector<uint32_t>& actual,
                           const std::vector<uint32_t>& expected, float tolerance) {
  if (actual.size() != expected.size()) {
    return AssertionFailure() << actual.size() << " words, expected " << expected.size();
  }
  for (size_t i = 0; i < actual.size(); ++i) {
    if (agrees(actual[i], expected[i], tolerance)) continue;
    return AssertionFailure() << fmt::format("word {} of {}: {:#010x}, expected {:#010x}", i,
                                             actual.size(), actual[i], expected[i]);
  }
  return AssertionSuccess();
}

// The words depend on no schedule.
TEST(Conformance, EmulatorRunsEveryWrapper) {
  Context ctx({.device = Device::simt}), other({.device = Device::simt});
  other.state<simt::Emulator>().options() = {.seed = 7, .schedule = simt::Schedule::pct};
  for (const ConformanceCase& c : cases_of(ctx)) {
    SCOPED_TRACE(c.name);
    std::vector<uint32_t> words;
    ASSERT_NO_THROW(words = c.run(ctx));
    const auto is_zero = [](uint32_t word) { return word == 0; };
    EXPECT_FALSE(std::ranges::all_of(words, is_zero));
    EXPECT_TRUE(same_words(c.run(other), words, 0));
  }
}

void expect_equal_halves(Device device) {
  Context ctx({.device = device});
  const auto words_of = [&](std::string_view name) { return case_of(ctx, name).run(ctx); };
  EXPECT_EQ(words_of("mma_m16n8k16_f16_halves"), words_of("mma_m16n8k16_f16"));
}

TEST(Conformance, ProductsOfSm75MakeThatOfSm80) {
  expect_equal_halves(Device::simt);
}

// sm_75's forms of the wrappers give what the others do.
TEST(Conformance, EmulatedSm75GivesTheSameWords) {
  Context ctx({.device = Device::simt}), turing({.device = Device::simt});
  simt::parse_options("architecture=75", turing.state<simt::Emulator>().options());
  const std::vector<ConformanceCase> cases = cases_of(turing);
  EXPECT_GT(cases.size(), 20u);
  EXPECT_LT(cases.size(), cases_of(ctx).size());
  for (const ConformanceCase& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_TRUE(same_words(c.run(turing), c.run(ctx), 0));
  }
}

TEST(Conformance, EmulatorAgreesWithGoldenData) {
  const Golden golden = read_golden();
  if (golden.empty()) GTEST_SKIP() << "no golden data yet: no GPU has run the wrappers";
  Context ctx({.device = Device::simt});
  for (const ConformanceCase& c : cases_of(ctx)) {
    SCOPED_TRACE(c.name);
    ASSERT_TRUE(golden.contains(c.name));
    EXPECT_TRUE(same_words(c.run(ctx), golden.at(c.name), c.tolerance));
  }
}

#ifdef TESSERA_WITH_CUDA
class ConformanceOn : public ::testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(Devices, ConformanceOn, ::testing::Values(Device::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST_P(ConformanceOn, GpuAgreesWithTheEmulator) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  Context ctx({.device = Device::cuda}), emulated({.device = Device::simt});
  const std::vector<ConformanceCase> cases = cases_of(ctx);
  if (const char* path = std::getenv("TESSERA_WRITE_GOLDEN")) write_golden(path, cases, ctx);
  for (const ConformanceCase& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_TRUE(same_words(case_of(emulated, c.name).run(emulated), c.run(ctx), c.tolerance));
  }
}

TEST_P(ConformanceOn, ProductsOfSm75MakeThatOfSm80) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  expect_equal_halves(Device::cuda);
}
#endif

}  // namespace
}  // namespace tessera::test
