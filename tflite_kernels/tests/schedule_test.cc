#include "kernels/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <utility>
#include <vector>

namespace accq {
namespace {

struct Case {
  Form form;
  int32_t in_min, in_max;
};

constexpr Case kCases[] = {
    {Form::kShifted, -128, 127}, {Form::kSigned, -128, 127}, {Form::kShifted, -8, 7},
    {Form::kSigned, -8, 7},      {Form::kSigned, 5, 90},     {Form::kShifted, 5, 90},
    {Form::kSigned, -100, -3},   {Form::kShifted, 7, 7},     {Form::kSigned, -128, -128},
    {Form::kStored, -128, 127},  {Form::kStored, 5, 90},     {Form::kBytes, -8, 7},
    {Form::kBytes, 1, 3},
};

int LimitOf(const Case& c) { return c.form == Form::kBytes ? 127 : 32767; }

// The greatest magnitude that a lane of these steps can reach, by trying both extreme operands of
// each weight.
int64_t WorstCase(const Case& c, const std::vector<Group>& steps) {
  const int64_t a = c.form != Form::kShifted ? std::min(c.in_min, 0) : 0;
  const int64_t b = c.form != Form::kShifted ? std::max(c.in_max, 0) : c.in_max - c.in_min;
  const int each = c.form == Form::kBytes ? 1 : 2;  // weights of a lane
  int64_t worst = 0;
  for (int lane = 0; lane < 2 * kLanes / each; ++lane) {
    int64_t least = 0, greatest = 0;
    for (const Group& step : steps) {
      for (int i = each * lane; i < each * (lane + 1); ++i) {
        least += std::min(a * step.weights[i], b * step.weights[i]);
        greatest += std::max(a * step.weights[i], b * step.weights[i]);
      }
    }
    worst = std::max({worst, -least, greatest});
  }
  return worst;
}

std::vector<Group> RandomGroups(int count, int magnitude, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> weight(-magnitude, std::min(magnitude, 127));
  std::vector<Group> groups(count);
  for (Group& group : groups) {
    for (int8_t& w : group.weights) w = static_cast<int8_t>(weight(random));
  }
  return groups;
}

TEST(ScheduleTest, SegmentsFitAndKeepEveryWeight) {
  for (const Case& c : kCases) {
    for (const int magnitude : {0, 1, 5, 40, 100, 128}) {
      if (c.form == Form::kBytes && magnitude > 5) continue;  // not FitsBytes
      const std::vector<Group> groups = RandomGroups(150, magnitude, magnitude);
      OpSpec spec;
      spec.in_min = c.in_min;
      spec.in_max = c.in_max;
      Schedule schedule;
      ASSERT_TRUE(schedule.Build(groups.data(), groups.size(), spec, c.form));
      EXPECT_EQ(schedule.packed().size(), schedule.steps());
      EXPECT_EQ(schedule.steps(), groups.size() + schedule.extra_steps());
      std::vector<std::vector<int>> sums(groups.size(), std::vector<int>(2 * kLanes));
      size_t step = 0, spills = 0;
      int32_t last_length = 0;
      for (size_t kind = 0; kind < schedule.segment_kinds(); ++kind) {
        const auto [length, count] = schedule.segments()[kind];
        EXPECT_LT(last_length, length);
        last_length = length;
        for (int32_t n = 0; n < count; ++n, ++spills) {
          std::vector<Group> segment;
          for (int32_t i = 0; i < length; ++i, ++step) {
            segment.push_back(schedule.packed()[step]);
            for (int w = 0; w < 2 * kLanes; ++w) {
              sums[schedule.group_of_step(step)][w] += schedule.packed()[step].weights[w];
              if (c.form == Form::kSigned) {
                EXPECT_NE(schedule.packed()[step].weights[w], -128);
              }
            }
          }
          EXPECT_LE(WorstCase(c, segment), LimitOf(c));
        }
      }
      EXPECT_EQ(step, schedule.steps());
      EXPECT_EQ(spills, schedule.spills());
      for (size_t g = 0; g < groups.size(); ++g) {
        EXPECT_TRUE(std::equal(sums[g].begin(), sums[g].end(), groups[g].weights));
      }
    }
  }
}

// One lane only: what fits exactly stays together, one more is too much.
TEST(ScheduleTest, UsesTheWholeRangeAndNoMore) {
  OpSpec spec;  // [-128, 127]
  std::vector<Group> groups(2, Group{});
  Schedule schedule;
  const auto figures = [&](Form form) {
    EXPECT_TRUE(schedule.Build(groups.data(), groups.size(), spec, form));
    return std::vector<size_t>{schedule.steps(), schedule.spills(), schedule.extra_steps()};
  };
  using Figures = std::vector<size_t>;
  groups[0].weights[6] = 100;
  groups[1].weights[7] = 28;  // 255 * 128 = 32640
  EXPECT_EQ(figures(Form::kShifted), (Figures{2, 1, 0}));
  groups[1].weights[7] = 29;  // 255 * 129 = 32895
  EXPECT_EQ(figures(Form::kShifted), (Figures{2, 2, 0}));
  groups[1].weights[7] = -29;  // other sign: it can only cancel
  EXPECT_EQ(figures(Form::kShifted), (Figures{2, 1, 0}));
  groups[1].weights[8] = 127;  // other lane
  EXPECT_EQ(figures(Form::kShifted), (Figures{2, 1, 0}));
  groups[1].weights[9] = 2;  // a pair of 129 saturates: 63 + 1 and 64 + 1; the first joins
  EXPECT_EQ(figures(Form::kShifted), (Figures{3, 2, 1}));

  groups = std::vector<Group>(2, Group{});
  groups[0].weights[6] = 127;
  groups[0].weights[7] = 127;
  groups[1].weights[6] = 1;  // 128 * 255 = 32640
  EXPECT_EQ(figures(Form::kSigned), (Figures{2, 1, 0}));
  groups[1].weights[6] = 2;  // 128 * 256 = 32768
  EXPECT_EQ(figures(Form::kSigned), (Figures{2, 2, 0}));
  groups[1].weights[6] = 0;
  groups[1].weights[8] = -128;  // can not be negated: -64 and -64
  EXPECT_EQ(figures(Form::kSigned), (Figures{3, 1, 1}));

  groups[0].weights[6] = groups[0].weights[7] = 0;  // a pair of -128 alone: 128 * 128 fits
  EXPECT_EQ(figures(Form::kStored), (Figures{2, 1, 0}));
  groups[1].weights[9] = -128;  // 128 * 256 = 32768
  EXPECT_EQ(figures(Form::kStored), (Figures{3, 2, 1}));
}

TEST(ScheduleTest, UsesTheWholeRangeOfBytes) {
  OpSpec spec;
  spec.in_min = -8;
  spec.in_max = 7;
  std::vector<Group> groups(3, Group{});
  Schedule schedule;
  const auto spills = [&] {
    EXPECT_TRUE(schedule.Build(groups.data(), groups.size(), spec, Form::kBytes));
    EXPECT_EQ(schedule.extra_steps(), 0u);
    return schedule.spills();
  };
  groups[0].weights[6] = 7;
  groups[1].weights[6] = 7;
  groups[2].weights[6] = 1;  // 8 * 15 = 120
  EXPECT_EQ(spills(), 1u);
  groups[2].weights[6] = -1;  // other sign: it can only cancel
  EXPECT_EQ(spills(), 1u);
  groups[2].weights[6] = 2;  // 8 * 16 = 128
  EXPECT_EQ(spills(), 2u);
  groups[2].weights[6] = 0;
  groups[2].weights[7] = 2;  // other lane, though the same of an int16 one
  EXPECT_EQ(spills(), 1u);
}

TEST(FitsBytesTest, WantsRoomForTwoProductsAndInt16Sums) {
  std::vector<int8_t> weights(2 * 600);
  OpSpec spec;
  spec.kind = OpKind::kFullyConnected;
  spec.in_channels = 600;
  spec.out_channels = 2;
  spec.in_min = -9;
  spec.in_max = 3;
  EXPECT_FALSE(FitsBytes(spec));  // has no weights
  spec.weights = weights.data();
  EXPECT_TRUE(FitsBytes(spec));
  weights[601] = 7;
  EXPECT_TRUE(FitsBytes(spec));
  weights[601] = -7;  // -9 * -7 = 63, and 126 fits
  EXPECT_TRUE(FitsBytes(spec));
  weights[601] = -8;
  EXPECT_FALSE(FitsBytes(spec));
  std::fill(weights.begin() + 600, weights.begin() + 600 + 520, int8_t{7});
  EXPECT_TRUE(FitsBytes(spec));  // 32760
  weights[1199] = -2;            // at its other end: 32766
  EXPECT_TRUE(FitsBytes(spec));
  weights[1199] = -3;  // 32769
  EXPECT_FALSE(FitsBytes(spec));
  weights[1199] = 1;  // 32769 the other way
  EXPECT_FALSE(FitsBytes(spec));
  spec.in_min = 2;  // widened to 0, and nothing is below
  EXPECT_TRUE(FitsBytes(spec));
}

TEST(ScheduleTest, TakesStepsInTheOrderThatNeedsFewSpills) {
  OpSpec spec;
  std::vector<Group> groups(4, Group{});
  for (int i = 0; i < 4; ++i) groups[i].weights[0] = std::vector<int8_t>{40, 60, 88, 68}[i];
  Schedule schedule;
  ASSERT_TRUE(schedule.Build(groups.data(), groups.size(), spec, Form::kShifted));
  EXPECT_EQ(schedule.spills(), 2u);  // 88 + 40 and 68 + 60: 128 each
  const std::vector<int> expected = {2, 0, 3, 1};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(schedule.group_of_step(i), expected[i]);
}

TEST(ScheduleTest, SpillsAsOftenAsTheSpecAsks) {
  const std::vector<Group> groups = RandomGroups(50, 1, 1);  // all of them fit at once
  OpSpec spec;
  for (const auto& [most, spills] : std::vector<std::pair<int, size_t>>{{0, 1}, {1, 50}, {7, 8}}) {
    spec.most_steps = most;
    Schedule schedule;
    ASSERT_TRUE(schedule.Build(groups.data(), groups.size(), spec, Form::kShifted));
    EXPECT_EQ(schedule.steps(), 50u);
    EXPECT_EQ(schedule.spills(), spills);
    for (size_t i = 0; most > 0 && i < schedule.segment_kinds(); ++i) {
      EXPECT_LE(schedule.segments()[i].length, most);
    }
  }
}

TEST(ScheduleTest, OfNothingIsEmpty) {
  Schedule schedule;
  ASSERT_TRUE(schedule.Build(nullptr, 0, OpSpec(), Form::kShifted));
  EXPECT_EQ(schedule.steps() + schedule.spills() + schedule.segment_kinds(), 0u);
}

}  // namespace
}  // namespace accq
