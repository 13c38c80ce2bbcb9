#include "core/memory/ledger.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

using enum MemoryTag;

TEST(Ledger, FollowsCurrentAndPeakByTag) {
  Ledger ledger;
  ledger.add(parameters, 100);
  ledger.add(activations, 50);
  ledger.remove(activations, 50);
  ledger.add(gradients, 40);
  EXPECT_EQ(ledger.current(), 140);
  EXPECT_EQ(ledger.current(activations), 0);
  EXPECT_EQ(ledger.peak(), 150);
  EXPECT_EQ(ledger.peak_by_tag()[size_t(activations)], 50);
  EXPECT_EQ(ledger.peak_by_tag()[size_t(gradients)], 40);
}

TEST(Ledger, AtPeakAddsUpToThePeak) {
  Ledger ledger;
  ledger.add(parameters, 100);
  ledger.add(activations, 50);
  ledger.remove(activations, 50);
  ledger.add(workspace, 45);
  const BytesByTag& composition = ledger.at_peak();
  EXPECT_EQ(composition[size_t(parameters)], 100);
  EXPECT_EQ(composition[size_t(activations)], 50);
  EXPECT_EQ(composition[size_t(workspace)], 0);  // its own peak came later
}

TEST(Ledger, MovingATagLeavesTotalAndPeakAlone) {
  Ledger ledger;
  ledger.add(activations, 30);
  ledger.move(activations, gradients, 30);
  EXPECT_EQ(ledger.current(), 30);
  EXPECT_EQ(ledger.peak(), 30);
  EXPECT_EQ(ledger.current(gradients), 30);
  EXPECT_EQ(ledger.current(activations), 0);
}

TEST(Ledger, ResetPeakStartsFromWhatIsInUse) {
  Ledger ledger;
  ledger.add(data, 70);
  ledger.remove(data, 60);
  ledger.reset_peak();
  EXPECT_EQ(ledger.peak(), 10);
  EXPECT_EQ(ledger.peak_by_tag()[size_t(data)], 10);
  EXPECT_EQ(ledger.at_peak()[size_t(data)], 10);
}

TEST(Ledger, TimelineHoldsEventsWhileRecording) {
  Ledger ledger;
  ledger.add(data, 8);
  ledger.record_timeline(true);
  ledger.add(optimizer, 16);
  ledger.remove(data, 8);
  ledger.record_timeline(false);
  ledger.add(data, 1);
  ASSERT_EQ(ledger.timeline().size(), 2u);
  EXPECT_EQ(ledger.timeline()[0].tag, optimizer);
  EXPECT_EQ(ledger.timeline()[0].total, 24);
  EXPECT_EQ(ledger.timeline()[1].bytes, -8);
  EXPECT_EQ(ledger.timeline()[1].total, 16);
}

TEST(Ledger, TagsHaveNames) {
  EXPECT_EQ(name_of(parameters), "parameters");
  EXPECT_EQ(name_of(data), "data");
}

}  // namespace
}  // namespace tessera
