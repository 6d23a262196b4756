#include "delegate/quantization.h"

#include <gtest/gtest.h>

#include "tests/delegate/fake_runtime.h"

namespace accq {
namespace {

class QuantizationOfBothLayouts : public testing::TestWithParam<bool> {
 protected:
  QuantizationOfBothLayouts() { runtime_.pointer_floats = GetParam(); }

  const TfLiteTensor& Add(std::vector<float> scales, std::vector<int> zeros, int dimension = 0) {
    FakeRuntime::TensorSpec spec;
    spec.scales = scales;
    spec.zeros = zeros;
    spec.dimension = dimension;
    return runtime_.tensor(runtime_.AddTensor(spec));
  }
  FloatArrayLayout Layout() { return DetectFloatArrayLayout(Add({0.5f}, {3})); }

  FakeRuntime runtime_;
};

INSTANTIATE_TEST_SUITE_P(Runtimes, QuantizationOfBothLayouts, testing::Bool());

TEST_P(QuantizationOfBothLayouts, LayoutIsDetected) {
  EXPECT_EQ(Layout(), GetParam() ? FloatArrayLayout::kPointer : FloatArrayLayout::kInline);
  EXPECT_EQ(DetectFloatArrayLayout(Add({0.5f, 0.25f}, {0, 0})), FloatArrayLayout::kUnknown);
  EXPECT_EQ(DetectFloatArrayLayout(Add({}, {})), FloatArrayLayout::kUnknown);
}

TEST_P(QuantizationOfBothLayouts, ReadsPerTensor) {
  float scale = 0;
  int32_t zero = 0;
  std::string error;
  ASSERT_TRUE(ReadPerTensor(Add({0.5f}, {-128}), &scale, &zero, &error)) << error;
  EXPECT_EQ(scale, 0.5f);
  EXPECT_EQ(zero, -128);
}

TEST_P(QuantizationOfBothLayouts, ReadsPerChannel) {
  const FloatArrayLayout layout = Layout();
  std::vector<float> scales;
  std::string error;
  ASSERT_TRUE(ReadWeightScales(Add({1, 2, 3}, {0, 0, 0}, 3), layout, 3, 3, &scales, &error))
      << error;
  EXPECT_EQ(scales, (std::vector<float>{1, 2, 3}));
}

TEST_P(QuantizationOfBothLayouts, OneScaleServesEveryChannelAlongAnyDimension) {
  const FloatArrayLayout layout = Layout();
  std::vector<float> scales;
  std::string error;
  ASSERT_TRUE(ReadWeightScales(Add({2}, {0}, 1), layout, 3, 3, &scales, &error)) << error;
  EXPECT_EQ(scales, (std::vector<float>{2, 2, 2}));
}

TEST_P(QuantizationOfBothLayouts, ZeroPointsMayBeFoldedIntoOne) {
  const FloatArrayLayout layout = Layout();
  std::vector<float> scales;
  std::string error;
  EXPECT_TRUE(ReadWeightScales(Add({1, 2}, {0}, 0), layout, 2, 0, &scales, &error)) << error;
  EXPECT_FALSE(ReadWeightScales(Add({1, 2}, {1}, 0), layout, 2, 0, &scales, &error));
}

}  // namespace
}  // namespace accq
