#include "kernels/neon/depthwise_tile.h"

#include <cstring>

#include "kernels/neon/intrinsics.h"
#include "kernels/neon/requantize.h"

namespace accq {
namespace {

// Pixels that share loads of weights.
constexpr int kPixels = 4;

// Sums of 8 or 16 channels of a pixel; the last three are not used for 8.
struct Pixel {
  const int8_t* operands;
  int32x4_t a, b, c, d;
  int16x8_t low, high;
};

// Named, since gcc keeps arrays of vectors in memory.
struct Pixels {
  Pixel first, second, third, fourth;
};

template <typename Body>
ACCQ_INLINE inline void ForEach(Pixels& pixels, const Body& body) {
  body(0, pixels.first);
  body(1, pixels.second);
  body(2, pixels.third);
  body(3, pixels.fourth);
}

ACCQ_INLINE inline void Load(const int8_t* from, int8x8_t* to) { *to = vld1_s8(from); }
ACCQ_INLINE inline void Load(const int8_t* from, int8x16_t* to) { *to = vld1q_s8(from); }

ACCQ_INLINE inline void Multiply(int8x8_t x, int8x8_t w, Pixel& pixel) {
  pixel.low = vmull_s8(x, w);
}
ACCQ_INLINE inline void MultiplyAdd(int8x8_t x, int8x8_t w, Pixel& pixel) {
  pixel.low = vmlal_s8(pixel.low, x, w);
}
ACCQ_INLINE inline void AddWidened(int8x8_t, Pixel& pixel) {
  pixel.a = vaddw_s16(pixel.a, vget_low_s16(pixel.low));
  pixel.b = vaddw_s16(pixel.b, vget_high_s16(pixel.low));
}

ACCQ_INLINE inline void Multiply(int8x16_t x, int8x16_t w, Pixel& pixel) {
  pixel.low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
  pixel.high = vmull_high_s8(x, w);
}
ACCQ_INLINE inline void MultiplyAdd(int8x16_t x, int8x16_t w, Pixel& pixel) {
  pixel.low = vmlal_s8(pixel.low, vget_low_s8(x), vget_low_s8(w));
  pixel.high = vmlal_high_s8(pixel.high, x, w);
}
ACCQ_INLINE inline void AddWidened(int8x16_t, Pixel& pixel) {
  pixel.a = vaddw_s16(pixel.a, vget_low_s16(pixel.low));
  pixel.b = vaddw_high_s16(pixel.b, pixel.low);
  pixel.c = vaddw_s16(pixel.c, vget_low_s16(pixel.high));
  pixel.d = vaddw_high_s16(pixel.d, pixel.high);
}

// All taps of 8 channels, for Bytes of int8x8_t, or of 16.
template <typename Bytes>
ACCQ_INLINE inline void AddTaps(const DepthwiseBlock& block, const int8_t* weights,
                                Pixels& pixels) {
  const TapOffsets* offsets = block.offsets;
  Bytes w0, w1;
  const auto next_step = [&](const auto& body) ACCQ_INLINE {
    Load(weights, &w0);
    Load(weights + 16, &w1);
    const ptrdiff_t first = offsets->first, second = offsets->second;
    ForEach(pixels, [&](int, Pixel& pixel) ACCQ_INLINE {
      Bytes x0, x1;
      Load(pixel.operands + first, &x0);
      Load(pixel.operands + second, &x1);
      body(x0, x1, pixel);
    });
    weights += sizeof(Group);
    ++offsets;
  };
  for (size_t s = 0; s < block.segment_kinds; ++s) {
    const auto [length, count] = block.segments[s];
    for (int32_t n = 0; n < count; ++n) {
      next_step([&](Bytes x0, Bytes x1, Pixel& pixel) ACCQ_INLINE {
        Multiply(x0, w0, pixel);
        MultiplyAdd(x1, w1, pixel);
      });
      for (int32_t i = 1; i < length; ++i) {
        next_step([&](Bytes x0, Bytes x1, Pixel& pixel) ACCQ_INLINE {
          MultiplyAdd(x0, w0, pixel);
          MultiplyAdd(x1, w1, pixel);
        });
      }
      ForEach(pixels, [&](int, Pixel& pixel) ACCQ_INLINE { AddWidened(w0, pixel); });
    }
  }
}

// Of one pixel, 16 outputs, or 8 and 8 that are none.
template <bool kWide>
ACCQ_INLINE inline int8x16_t Outputs(const Requantizer& requantize, const FourMultipliers& m,
                                     const Pixel& pixel) {
  if constexpr (kWide) return requantize.Four({pixel.a, pixel.b, pixel.c, pixel.d}, m);
  const int16x4_t a = vmovn_s32(requantize(pixel.a, m.a)), b = vmovn_s32(requantize(pixel.b, m.b));
  const int8x8_t outputs = vmovn_s16(vcombine_s16(a, b));
  return vcombine_s8(outputs, outputs);
}

ACCQ_INLINE inline void Store(int8x8_t outputs, int32_t channels, int8_t* out) {
  if (channels >= 8) {
    vst1_s8(out, outputs);
    return;
  }
  int8_t all[8];
  vst1_s8(all, outputs);
  std::memcpy(out, all, channels);
}

// The block's channels from `first` on, 8 or 16 of them.
template <typename Bytes>
ACCQ_INLINE inline void RunSlice(const DepthwiseBlock& block, int32_t first,
                                 const DepthwiseRow& row, const OutputRange& range) {
  constexpr bool kWide = sizeof(Bytes) == 16;
  const Requantizer requantize(range);
  const int8_t* weights = block.steps->weights + DepthwiseWeightNeon(first, 0);
  const int32_t* bias = block.bias + first;
  const float* from = block.multiplier + first;
  FourMultipliers multipliers = {vld1q_f32(from), vld1q_f32(from + 4), {}, {}};
  if constexpr (kWide) multipliers.c = vld1q_f32(from + 8), multipliers.d = vld1q_f32(from + 12);
  const int32_t channels = block.channels - first;
  for (int64_t p = 0; p < row.pixels; p += kPixels) {
    const int64_t left = row.pixels - p;
    const auto* operands =
        reinterpret_cast<const int8_t*>(row.operands + first + p * row.pixel_stride);
    Pixels pixels;
    ForEach(pixels, [&](int i, Pixel& pixel) ACCQ_INLINE {
      pixel.operands = operands + (i < left ? i * row.pixel_stride : 0);
      pixel.a = vld1q_s32(bias);
      pixel.b = vld1q_s32(bias + 4);
      if constexpr (kWide) {
        pixel.c = vld1q_s32(bias + 8);
        pixel.d = vld1q_s32(bias + 12);
      }
    });
    AddTaps<Bytes>(block, weights, pixels);
    // All before the first is stored: their steps wait for each other instead of for themselves.
    const int8x16_t outputs[kPixels] = {
        Outputs<kWide>(requantize, multipliers, pixels.first),
        Outputs<kWide>(requantize, multipliers, pixels.second),
        Outputs<kWide>(requantize, multipliers, pixels.third),
        Outputs<kWide>(requantize, multipliers, pixels.fourth),
    };
    int8_t* out = row.out + first + p * row.out_stride;
    for (int i = 0; i < kPixels && i < left; ++i, out += row.out_stride) {
      if (kWide && channels >= 16) {
        vst1q_s8(out, outputs[i]);
      } else {
        Store(vget_low_s8(outputs[i]), channels, out);
        if constexpr (kWide) Store(vget_high_s8(outputs[i]), channels - 8, out + 8);
      }
    }
  }
}

}  // namespace

void RunDepthwiseRowNeon(const DepthwiseBlock& block, const DepthwiseRow& row,
                         const OutputRange& range) {
  int32_t first = 0;
#ifdef __aarch64__  // with 32 registers instead of 16
  for (; block.channels - first > 8; first += 16) RunSlice<int8x16_t>(block, first, row, range);
#endif
  for (; first < block.channels; first += 8) RunSlice<int8x8_t>(block, first, row, range);
}

}  // namespace accq
