// Charts and report.html.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/check.h"
#include "core/files/file.h"
#include "tests/data/support.h"
#include "train/report/chart.h"
#include "train/report/report.h"

namespace tessera::test {
namespace {

TEST(ChartTest, TicksAreRoundAndWithinTheRange) {
  const auto near = [](const std::vector<double>& values, const std::vector<double>& expected) {
    ASSERT_EQ(values.size(), expected.size());
    for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-9);
  };
  near(ticks(0, 10, 5), {0, 2, 4, 6, 8, 10});
  near(ticks(0.13, 0.47, 5), {0.2, 0.3, 0.4});
  near(ticks(-3, 3, 3), {-2, 0, 2});
  near(ticks(2000, 2000, 6), {2000});
  EXPECT_EQ(format_tick(ticks(0, 10, 5)[0]), "0");  // not -0
  for (const double high : {1.0, 3.3, 7.0, 1e-6, 4099.0}) {
    EXPECT_GE(ticks(0, high, 6).size(), 3u);
    EXPECT_LE(ticks(0, high, 6).size(), 7u);
  }
}

TEST(ChartTest, TicksArePrintedShort) {
  EXPECT_EQ(format_tick(0), "0");
  EXPECT_EQ(format_tick(2.5), "2.5");
  EXPECT_EQ(format_tick(1500), "1.5k");
  EXPECT_EQ(format_tick(2e6), "2M");
  EXPECT_EQ(format_tick(-3e9), "-3G");
  EXPECT_EQ(format_tick(1e-4), "1e-4");
  EXPECT_EQ(format_tick(2.5e-7), "2.5e-7");
}

TEST(ChartTest, ThinningKeepsPeaksAndOrder) {
  std::vector<Point> points;
  for (int i = 0; i < 4099; ++i) points.push_back({double(i), std::sin(i * 0.01)});
  points[2000].y = 9;
  points[3001].y = -9;
  const std::vector<Point> kept = thinned(points, 100);
  EXPECT_LE(kept.size(), 200u);
  double high = 0, low = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    high = std::max(high, kept[i].y);
    low = std::min(low, kept[i].y);
    if (i > 0) {
      EXPECT_GT(kept[i].x, kept[i - 1].x);
    }
  }
  EXPECT_EQ(high, 9);
  EXPECT_EQ(low, -9);
  EXPECT_EQ(thinned({{1, 2}, {2, 3}}, 100).size(), 2u);
}

TEST(ChartTest, DrawsWhatIsFinite) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string svg =
      to_svg({.title = "a < b", .series = {{"", "a", {{1, 4}, {2, nan}, {3, 2}}}}});
  EXPECT_NE(svg.find("a &lt; b"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  // Two points: the corners of the frame.
  EXPECT_NE(svg.find("points='58.0,34.0 546.0,224.0 '"), std::string::npos) << svg;
  EXPECT_NE(to_svg({.title = "t", .series = {{"", "a", {{1, nan}}}}}).find("nothing was recorded"),
            std::string::npos);
  EXPECT_EQ(to_svg({.title = "t", .series = {{"", "a", {{5, 5}}}}}).find("nan"), std::string::npos);
}

class ReportTest : public testing::Test {
 protected:
  std::string report(const std::string& metrics, const std::string& config = "run:\n") const {
    write_text(folder_ / "config.yaml", config);
    write_text(folder_ / "metrics.jsonl", metrics);
    write_report(folder_.path(), "a run");
    return read_text_file(folder_ / "report.html");
  }

  TemporaryFolder folder_;
};

TEST_F(ReportTest, TellsWhatWasReached) {
  const std::string html =
      report(R"({"step":1,"tokens":512,"loss":5.5,"tokens_per_second":900,"step_ms":1500,)"
             R"("peak_bytes":2097152,"peak_bytes_by_tag":{"weights":1048576,"gradients":0}})"
             "\n"
             R"({"step":1,"tokens":512,"validation_loss":5.25,"seconds":1})"
             "\n"
             R"({"step":2,"tokens":1024,"loss":4.5,"tokens_per_second":1100,"step_ms":500,)"
             R"("peak_bytes":2097152,"peak_bytes_by_tag":{"weights":1048576,"gradients":0}})"
             "\n",
             "run:\n  name: <b>\n");
  for (const char* part :
       {"<h1>a run</h1>", "<b>5.0000</b>", "<b>5.2500</b>", "at step 1<", "<b>1.0k</b>",
        "in 2 steps", "<b>2.0 MiB</b>", "<b>2s</b>", ">weights<", "name: &lt;b&gt;"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  EXPECT_EQ(html.find(">gradients<"), std::string::npos);  // none were there
  EXPECT_EQ(html.find("<b>\n</pre>"), std::string::npos);
}

TEST_F(ReportTest, PassesOverWhatIsNoRecord) {
  const std::string html = report("{\"step\":1,\"loss\":null}\n[1]\n\"x\"\n{\"step\":2,\"lo");
  EXPECT_NE(html.find("nothing was recorded"), std::string::npos);
  EXPECT_NE(html.find("</html>"), std::string::npos);
  EXPECT_NE(report("").find("nothing was recorded"), std::string::npos);
}

TEST_F(ReportTest, AMissingFileIsAnError) {
  write_text(folder_ / "config.yaml", "run:\n");
  EXPECT_THROW(write_report(folder_.path(), "a run"), Error);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "report.html"));
}

}  // namespace
}  // namespace tessera::test
