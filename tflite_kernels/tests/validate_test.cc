#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "kernels/geometry.h"
#include "kernels/op.h"

namespace accq {
namespace {

// A valid 1x1 convolution of two channels into one.
class ValidateSpecTest : public testing::Test {
 protected:
  ValidateSpecTest() {
    spec_.in_channels = 2;
    spec_.weights = weights_.data();
    spec_.bias = bias_.data();
    spec_.multiplier = {0.5f};
  }

  std::string ErrorOf() {
    std::string error;
    const bool valid = ValidateSpec(spec_, &error);
    EXPECT_EQ(valid, error.empty());
    return error;
  }

  std::vector<int8_t> weights_ = {127, -128};
  std::vector<int32_t> bias_ = {0};
  OpSpec spec_;
};

TEST_F(ValidateSpecTest, AcceptsEveryWeight) {
  EXPECT_EQ(ErrorOf(), "");
  weights_ = {-128, -128};
  EXPECT_EQ(ErrorOf(), "");
}

TEST_F(ValidateSpecTest, NamesFieldAndValue) {
  spec_.stride_w = 0;
  EXPECT_EQ(ErrorOf(), "stride_w: expected 1 to 2147483647, came 0");
  spec_.stride_w = 1;
  spec_.groups = 2;
  EXPECT_NE(ErrorOf().find("groups: expected a divisor"), std::string::npos);
  spec_.groups = 1;
  spec_.in_min = -129;
  EXPECT_EQ(ErrorOf(), "in_min: expected -128 to 127, came -129");
  spec_.in_min = 5;
  spec_.in_max = 4;
  EXPECT_EQ(ErrorOf(), "in_min 5 exceeds in_max 4");
  spec_.in_max = 127;
  EXPECT_EQ(ErrorOf(), "");  // 0 is outside the range, and nothing is padded with it
  spec_.same_padding = true;
  EXPECT_NE(ErrorOf().find("SAME padding"), std::string::npos);
  spec_.in_zero = 5;
  EXPECT_EQ(ErrorOf(), "");
  spec_.out_zero = 128;
  EXPECT_EQ(ErrorOf(), "output zero point: expected -128 to 127, came 128");
}

TEST_F(ValidateSpecTest, RefusesMultipliers) {
  for (const float bad : {0.0f, -1.0f, 256.0f, std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    spec_.multiplier = {bad};
    EXPECT_NE(ErrorOf().find("channel 0: expected a multiplier in (0, 256)"), std::string::npos)
        << bad;
  }
  for (const float good :
       {std::nextafter(256.0f, 0.0f), std::numeric_limits<float>::denorm_min()}) {
    spec_.multiplier = {good};
    EXPECT_EQ(ErrorOf(), "");
  }
  spec_.multiplier = {};
  EXPECT_NE(ErrorOf().find("expected 1 multipliers"), std::string::npos);
}

// 127 * 127 + -128 * -128 is the greatest sum, 127 * -128 + -128 * 127 the least.
TEST_F(ValidateSpecTest, FindsTheExactLimitOfTheAccumulator) {
  const int32_t greatest = 127 * 127 + 128 * 128, least = -2 * 127 * 128;
  bias_ = {INT32_MAX - greatest};
  EXPECT_EQ(ErrorOf(), "");
  bias_ = {INT32_MAX - greatest + 1};
  EXPECT_EQ(ErrorOf(),
            "output channel 0: greatest accumulator: expected -2147483648 to 2147483647, came "
            "2147483648");
  bias_ = {INT32_MIN - least};
  EXPECT_EQ(ErrorOf(), "");
  bias_ = {INT32_MIN - least - 1};
  EXPECT_NE(ErrorOf().find("least accumulator"), std::string::npos);
}

TEST_F(ValidateSpecTest, FindsTheExactLimitOfTheEffectiveBias) {
  weights_ = {-127, 0};
  spec_.in_zero = 127;
  spec_.in_min = spec_.in_max = 127;  // the sum is -127 * 127, far from the limit
  bias_ = {INT32_MAX - 127 * 127};
  EXPECT_EQ(ErrorOf(), "");
  bias_ = {INT32_MAX - 127 * 127 + 1};
  EXPECT_NE(ErrorOf().find("bias - in_zero * sum(weights): expected"), std::string::npos);
}

TEST_F(ValidateSpecTest, RefusesSizesThatOverflow) {
  spec_.filter_h = spec_.filter_w = spec_.in_channels = INT32_MAX;
  EXPECT_EQ(ErrorOf(), "the weights do not fit the address space");
  spec_.filter_h = spec_.in_channels = 1;
  spec_.dilation_w = 2;
  EXPECT_NE(ErrorOf().find("dilated filter width"), std::string::npos);
}

TEST_F(ValidateSpecTest, ChecksWhatBelongsToTheKind) {
  spec_.kind = OpKind::kDepthwiseConv2D;
  EXPECT_NE(ErrorOf().find("depth_multiplier: expected out_channels 1 / in_channels 2"),
            std::string::npos);
  spec_.kind = OpKind::kFullyConnected;
  EXPECT_EQ(ErrorOf(), "");
  spec_.filter_h = 2;
  EXPECT_NE(ErrorOf().find("a fully connected layer"), std::string::npos);
}

TEST_F(ValidateSpecTest, ChecksTransposedConvolutions) {
  spec_.kind = OpKind::kTransposeConv;
  EXPECT_EQ(ErrorOf(), "out_h: expected 1 to 2147483647, came 0");
  spec_.out_h = spec_.out_w = 4;
  EXPECT_EQ(ErrorOf(), "");
  spec_.in_min = 5;
  EXPECT_NE(ErrorOf().find("input zero point"), std::string::npos);
  spec_.in_min = -128;
  spec_.dilation_w = 2;
  EXPECT_NE(ErrorOf().find("dilation and groups of 1"), std::string::npos);
  spec_.dilation_w = 1;
  spec_.stride_w = 2;
  EXPECT_EQ(ErrorOf(), "");
  spec_.same_padding = true;
  EXPECT_NE(ErrorOf().find("1 x 1 smaller than its stride 1 x 2"), std::string::npos);
  spec_.same_padding = false;
  spec_.stride_h = spec_.stride_w = INT32_MAX;
  EXPECT_EQ(ErrorOf(), "");
}

// Phases are summed apart: the limit is that of the worst one.
TEST_F(ValidateSpecTest, FindsTheExactLimitOfEachPhase) {
  spec_.kind = OpKind::kTransposeConv;
  spec_.in_channels = 1;
  spec_.filter_h = spec_.stride_h = 2;
  spec_.out_h = 2;
  spec_.out_w = 1;
  weights_ = {127, -128};  // one in each phase
  bias_ = {INT32_MAX - 128 * 128};
  EXPECT_EQ(ErrorOf(), "");
  bias_ = {INT32_MAX - 128 * 128 + 1};
  EXPECT_NE(ErrorOf().find("phase 1, 0: output channel 0: greatest accumulator"),
            std::string::npos);
}

TEST(AxisTest, FollowsTFLite) {
  struct {
    int32_t size, filter, stride, dilation;
    bool same;
    int64_t out, pad_before;
  } const cases[] = {
      {32, 3, 1, 1, true, 32, 1}, {32, 3, 2, 1, true, 16, 0},  {33, 3, 2, 1, true, 17, 1},
      {32, 4, 1, 1, true, 32, 1}, {5, 1, 2, 1, true, 3, 0},    {7, 3, 1, 3, true, 7, 3},
      {2, 7, 1, 1, true, 2, 3},   {32, 3, 1, 1, false, 30, 0}, {32, 3, 2, 1, false, 15, 0},
      {3, 3, 5, 1, false, 1, 0},  {2, 3, 5, 1, false, 0, 0},   {9, 3, 1, 4, false, 1, 0},
  };
  for (const auto& c : cases) {
    const Axis axis = AxisOf(c.size, c.filter, c.stride, c.dilation, c.same);
    EXPECT_EQ(axis.out, c.out) << c.size << " " << c.filter << " " << c.stride;
    EXPECT_EQ(axis.pad_before, c.pad_before) << c.size << " " << c.filter << " " << c.stride;
  }
}

TEST(OutputShapeTest, RefusesWhatDoesNotFit) {
  OpSpec spec;
  spec.filter_h = 3;
  spec.in_channels = 4;
  Shape4 output;
  std::string error;
  EXPECT_TRUE(OutputShape(spec, {2, 3, 5, 4}, &output, &error));
  EXPECT_EQ(output.h, 1);
  EXPECT_EQ(output.w, 5);
  EXPECT_FALSE(OutputShape(spec, {2, 2, 5, 4}, &output, &error));
  EXPECT_NE(error.find("smaller than the 3 x 1 filter"), std::string::npos);
  EXPECT_FALSE(OutputShape(spec, {2, 3, 5, 3}, &output, &error));
  EXPECT_EQ(error, "expected an input of 4 channels, as the weights have, came 3");
  EXPECT_FALSE(OutputShape(spec, {0, 3, 5, 4}, &output, &error));
  EXPECT_FALSE(OutputShape(spec, {INT32_MAX, INT32_MAX, INT32_MAX, 4}, &output, &error));
  spec.out_channels = INT32_MAX;
  spec.filter_h = 1;
  const int32_t size = sizeof(size_t) == 8 ? 1 << 20 : 1 << 10;
  EXPECT_FALSE(OutputShape(spec, {size, size, 1, 4}, &output, &error));
  EXPECT_EQ(error, "the output does not fit the address space");
}

TEST(OutputShapeTest, OfATransposedConvolutionMustSuitItsInput) {
  OpSpec spec;
  spec.kind = OpKind::kTransposeConv;
  spec.filter_h = spec.filter_w = 3;
  spec.stride_h = spec.stride_w = 2;
  spec.out_w = 9;
  Shape4 output;
  std::string error;
  const auto fits = [&](bool same, int32_t out) {
    spec.same_padding = same;
    spec.out_h = out;
    if (same) spec.out_w = 8;
    return OutputShape(spec, {1, 4, 4, 1}, &output, &error);
  };
  EXPECT_TRUE(!fits(false, 8) && fits(false, 9) && fits(false, 10) && !fits(false, 11));
  EXPECT_EQ(error,
            "height: an output size of 11 does not suit 4 inputs, a filter of 3, stride 2 and "
            "VALID padding");
  EXPECT_TRUE(!fits(true, 6) && fits(true, 7) && fits(true, 8) && !fits(true, 9));
  EXPECT_TRUE(fits(true, 8));
  EXPECT_EQ(output.w, 8);
  spec.out_w = INT32_MAX;
  EXPECT_FALSE(OutputShape(spec, {1, 4, 4, 1}, &output, &error));
  EXPECT_EQ(error.rfind("width: ", 0), 0u);
  spec.stride_w = INT32_MAX;
  EXPECT_FALSE(OutputShape(spec, {1, 4, INT32_MAX, 1}, &output, &error));
}

}  // namespace
}  // namespace accq
