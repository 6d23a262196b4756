// What an instruction set gives to convolve depthwise: the inner loops over a row of output pixels
// by a block of channels (depthwise_layout.h).
#ifndef ACCQ_KERNELS_DEPTHWISE_LOOPS_H_
#define ACCQ_KERNELS_DEPTHWISE_LOOPS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/operands.h"
#include "kernels/output_range.h"
#include "kernels/schedule.h"

namespace accq {

struct TapOffsets {
  int32_t first, second;  // of the two taps of a step from a pixel's first operand
};

// Weights for products in int32: pairs of taps for the sums of 32 channels, in their order.
struct alignas(64) WideGroup {
  int16_t weights[2 * kLanes];
};

struct DepthwiseBlock {
  // With int16 sums: steps in segments. Else null, and the steps of `wide` are used.
  const Group* steps;
  const Segments* segments;
  size_t segment_kinds;
  const WideGroup* wide;
  size_t wide_steps;
  const TapOffsets* offsets;
  const int32_t* bias;      // [32], in the order of DepthwiseLoops::sum
  const float* multiplier;  // likewise
  int32_t channels;
  int32_t pixels;  // of a vector: 1, 2 or 4; weights, bias and multipliers are there for each
};

struct DepthwiseRow {
  const uint8_t* operands;  // of the first pixel and the block's first channel
  ptrdiff_t pixel_stride;
  int64_t pixels;
  int8_t* out;
  ptrdiff_t out_stride;
};

struct DepthwiseLoops {
  const char* kernel;  // its name
  MapOperands map;
  void (*run_row)(const DepthwiseBlock&, const DepthwiseRow&, const OutputRange&);
  int (*weight)(int channel, int tap);  // where a step has the weight of one of its two taps
  int (*sum)(int channel);              // where bias and multipliers are
  // Whether int16 sums of stored operands (Form::kStored) serve all blocks, and vectors hold
  // channels of one pixel; else shifted ones, in int32 where that is cheaper, and narrow blocks
  // fill vectors with several pixels.
  bool stored = false;
};

}  // namespace accq

#endif  // ACCQ_KERNELS_DEPTHWISE_LOOPS_H_
