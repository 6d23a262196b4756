#include "kernels/portable/depthwise_tile.h"

#include "kernels/portable/outputs.h"

namespace accq {
namespace {

// The number of channels is a variable even where all 32 are there: told the number, gcc unrolls
// the loop before it looks for vectors, and then finds none.
void AddStep(const int8_t* __restrict weights, const int8_t* first, const int8_t* second,
             int32_t channels, int16_t* __restrict sums) {
  for (int32_t c = 0; c < channels; ++c) {
    const int products = first[c] * weights[c] + second[c] * weights[kLanes + c];
    sums[c] = static_cast<int16_t>(sums[c] + products);
  }
}

// Adds as if unsigned, since only the whole sum is known to fit.
void Spill(const int16_t* __restrict narrow, int32_t channels, int32_t* __restrict sums) {
  for (int32_t c = 0; c < channels; ++c) {
    sums[c] = static_cast<int32_t>(static_cast<uint32_t>(sums[c]) + narrow[c]);
  }
}

}  // namespace

void RunDepthwiseRowPortable(const DepthwiseBlock& block, const DepthwiseRow& row,
                             const OutputRange& range) {
  const int32_t channels = block.channels;
  for (int64_t p = 0; p < row.pixels; ++p) {
    const auto* operands = reinterpret_cast<const int8_t*>(row.operands + p * row.pixel_stride);
    int32_t sums[kLanes];
    for (int32_t c = 0; c < channels; ++c) sums[c] = block.bias[c];
    const Group* step = block.steps;
    const TapOffsets* offsets = block.offsets;
    for (size_t kind = 0; kind < block.segment_kinds; ++kind) {
      const auto [length, count] = block.segments[kind];
      for (int32_t segment = 0; segment < count; ++segment) {
        int16_t narrow[kLanes] = {};
        for (int32_t s = 0; s < length; ++s, ++step, ++offsets) {
          AddStep(step->weights, operands + offsets->first, operands + offsets->second, channels,
                  narrow);
        }
        Spill(narrow, channels, sums);
      }
    }
    WriteOutputs(sums, block.multiplier, range, channels, row.out + p * row.out_stride);
  }
}

}  // namespace accq
