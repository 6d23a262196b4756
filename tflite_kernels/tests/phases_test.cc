#include "kernels/phases.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "kernels/geometry.h"

namespace accq {
namespace {

TransposedAxis AxisFor(int32_t size, int32_t filter, int32_t stride, int32_t out, bool same) {
  OpSpec spec;
  spec.kind = OpKind::kTransposeConv;
  spec.filter_h = filter;
  spec.stride_h = stride;
  spec.out_h = spec.out_w = out;
  spec.same_padding = same;
  spec.filter_w = filter;
  spec.stride_w = stride;
  TransposedAxis y, x;
  std::string error;
  EXPECT_TRUE(TransposedAxes(spec, {1, size, size, 1}, &y, &x, &error)) << error;
  EXPECT_EQ(y.cut, x.cut);
  return y;
}

// Scattering inputs over outputs, and gathering them by phases, meet the same pairs.
TEST(PhasesTest, MeetWhatScatteringMeets) {
  int passed_over = 0, without_outputs = 0;
  for (int32_t size = 1; size < 5; ++size) {
    for (int32_t filter = 1; filter < 7; ++filter) {
      for (int32_t stride = 1; stride < 5; ++stride) {
        for (int32_t more = 0; more < stride; ++more) {
          for (const bool same : {false, true}) {
            const int32_t out = (size - 1) * stride + (same ? 1 : filter) + more;
            const TransposedAxis axis = AxisFor(size, filter, stride, out, same);
            std::set<std::vector<int64_t>> scattered, gathered;  // output, input, tap
            for (int64_t i = 0; i < size; ++i) {
              for (int64_t tap = 0; tap < filter; ++tap) {
                const int64_t o = i * stride + tap - axis.cut;
                if (o >= 0 && o < out) scattered.insert({o, i, tap});
              }
            }
            int64_t outputs = 0;
            for (int32_t phase = 0; phase < CountPhases(filter, stride); ++phase) {
              const PhaseAxis conv = PhaseAxisOf(axis, phase);
              const int32_t taps = TapsOfPhase(filter, stride, phase);
              EXPECT_LT(conv.pad_before, taps);
              passed_over += conv.pad_before < 0;
              without_outputs += conv.out == 0;
              outputs += conv.out;
              for (int64_t window = 0; window < conv.out; ++window) {
                const int64_t o = conv.first_out + window * stride;
                EXPECT_LT(o, out);
                for (int64_t tap = 0; tap < taps; ++tap) {
                  const int64_t i = window - conv.pad_before + tap;
                  if (i < 0 || i >= size) continue;
                  gathered.insert({o, i, phase + (taps - 1 - tap) * stride});
                }
              }
            }
            EXPECT_EQ(scattered, gathered) << size << " " << filter << " " << stride << " " << out;
            if (filter >= stride) {
              EXPECT_EQ(outputs, out);
            }
          }
        }
      }
    }
  }
  EXPECT_GT(passed_over, 0);
  EXPECT_GT(without_outputs, 0);
}

TEST(PhasesTest, FlipTheirTaps) {
  // 3 x 2 taps of 2 channels, numbered in file order.
  const std::vector<int8_t> weights = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  OpSpec spec;
  spec.kind = OpKind::kTransposeConv;
  spec.filter_h = 3;
  spec.filter_w = 2;
  spec.in_channels = 2;
  spec.stride_h = 2;
  spec.weights = weights.data();
  const auto phase_weights = [&](int32_t h) {
    Buffer<int8_t> buffer;
    OpSpec phase;
    EXPECT_TRUE(PhaseSpec(spec, h, 0, &buffer, &phase));
    EXPECT_EQ(phase.kind, OpKind::kConv2D);
    EXPECT_EQ(phase.weights, buffer.data());
    EXPECT_EQ(static_cast<size_t>(ProductsPerOutput(phase)), buffer.size());
    return std::vector<int8_t>(buffer.data(), buffer.data() + buffer.size());
  };
  EXPECT_EQ(phase_weights(0), (std::vector<int8_t>{10, 11, 8, 9, 2, 3, 0, 1}));
  EXPECT_EQ(phase_weights(1), (std::vector<int8_t>{6, 7, 4, 5}));
}

}  // namespace
}  // namespace accq
