// The repository keeps its own rules. TESSERA_SOURCE_DIR is its root.
#include <gtest/gtest.h>

#include "tests/lint/rules.h"

namespace tessera::lint {
namespace {

testing::AssertionResult holds(const Violations& violations) {
  if (violations.empty()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << violations.size() << " violations:\n"
                                     << to_text(violations);
}

class Repository : public testing::Test {
 protected:
  static void SetUpTestSuite() { tree_ = read_tree(TESSERA_SOURCE_DIR); }
  static inline SourceTree tree_;
};

TEST_F(Repository, IsFound) {
  EXPECT_GT(tree_.size(), 50U) << "below " TESSERA_SOURCE_DIR;
}
TEST_F(Repository, IncludeDirections) {
  EXPECT_TRUE(holds(check_includes(tree_)));
}
TEST_F(Repository, DeviceCode) {
  EXPECT_TRUE(holds(check_device_code(tree_)));
}
TEST_F(Repository, Kinds) {
  EXPECT_TRUE(holds(check_kinds(tree_)));
}
TEST_F(Repository, Sizes) {
  EXPECT_TRUE(holds(check_sizes(tree_)));
}
TEST_F(Repository, FunctionSizes) {
  EXPECT_TRUE(holds(check_functions(tree_)));
}
TEST_F(Repository, Words) {
  EXPECT_TRUE(holds(check_words(tree_)));
}
TEST_F(Repository, PragmaOnce) {
  EXPECT_TRUE(holds(check_pragma_once(tree_)));
}

}  // namespace
}  // namespace tessera::lint
