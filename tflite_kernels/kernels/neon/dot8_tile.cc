#include "kernels/neon/dot8_tile.h"

#include <cstring>
#include <iterator>

#include "kernels/neon/intrinsics.h"
#include "kernels/neon/requantize.h"

namespace accq {
namespace {

// Something of each of the 4 channels; named, since gcc keeps arrays of vectors in memory.
template <typename Vector>
struct Channels {
  Vector a, b, c, d;
};
using Sums16 = Channels<int16x8_t>;
using Sums32 = Channels<int32x4_t>;
using Weights = Channels<int8x16_t>;

// Something of each pixel of a tile: a list, for the same reason.
template <typename Value, int kPixels>
struct Pixels {
  Value first;
  Pixels<Value, kPixels - 1> rest;
};
template <typename Value>
struct Pixels<Value, 0> {};

// Calls body(i, value) for each pixel, unrolled.
template <int i = 0, typename Value, int kPixels, typename Body>
ACCQ_INLINE inline void ForEach(Pixels<Value, kPixels>& pixels, const Body& body) {
  if constexpr (kPixels > 0) {
    body(i, pixels.first);
    ForEach<i + 1>(pixels.rest, body);
  }
}

// An empty statement that reads and writes sums keeps them where they are: gcc would move them
// between registers from one turn of a loop to the next.
ACCQ_INLINE inline void KeepInRegisters(Sums16& sums) {
  asm volatile("" : "+w"(sums.a), "+w"(sums.b), "+w"(sums.c), "+w"(sums.d));
}
ACCQ_INLINE inline void KeepInRegisters(Sums32& sums) {
  asm volatile("" : "+w"(sums.a), "+w"(sums.b), "+w"(sums.c), "+w"(sums.d));
}

ACCQ_INLINE inline Weights LoadWeights(const Group& step) {
  return {vld1q_s8(step.weights), vld1q_s8(step.weights + 16), vld1q_s8(step.weights + 32),
          vld1q_s8(step.weights + 48)};
}

// Both products of a channel go to the same lanes, so the second waits for the first: channels
// take turns.
ACCQ_INLINE inline Sums16 Multiply(int8x16_t x, const Weights& w) {
  const int8x8_t low = vget_low_s8(x);
  Sums16 sums = {vmull_s8(low, vget_low_s8(w.a)), vmull_s8(low, vget_low_s8(w.b)),
                 vmull_s8(low, vget_low_s8(w.c)), vmull_s8(low, vget_low_s8(w.d))};
  sums.a = vmlal_high_s8(sums.a, x, w.a);
  sums.b = vmlal_high_s8(sums.b, x, w.b);
  sums.c = vmlal_high_s8(sums.c, x, w.c);
  sums.d = vmlal_high_s8(sums.d, x, w.d);
  return sums;
}

ACCQ_INLINE inline void MultiplyAdd(int8x16_t x, const Weights& w, Sums16* sums) {
  const int8x8_t low = vget_low_s8(x);
  sums->a = vmlal_s8(sums->a, low, vget_low_s8(w.a));
  sums->b = vmlal_s8(sums->b, low, vget_low_s8(w.b));
  sums->c = vmlal_s8(sums->c, low, vget_low_s8(w.c));
  sums->d = vmlal_s8(sums->d, low, vget_low_s8(w.d));
  sums->a = vmlal_high_s8(sums->a, x, w.a);
  sums->b = vmlal_high_s8(sums->b, x, w.b);
  sums->c = vmlal_high_s8(sums->c, x, w.c);
  sums->d = vmlal_high_s8(sums->d, x, w.d);
}

ACCQ_INLINE inline void AddWidened(const Sums16& from, Sums32* to) {
  to->a = vpadalq_s16(to->a, from.a);
  to->b = vpadalq_s16(to->b, from.b);
  to->c = vpadalq_s16(to->c, from.c);
  to->d = vpadalq_s16(to->d, from.d);
}

ACCQ_INLINE inline Sums32 Zeros() {
  const int32x4_t zero = vdupq_n_s32(0);
  return {zero, zero, zero, zero};
}

// Writes the outputs of one pixel.
ACCQ_INLINE inline void Store(const ConvBlock& block, const Requantizer& requantize,
                              const Sums32& sums, int8_t* out) {
  const int32x4_t each = vpaddq_s32(vpaddq_s32(sums.a, sums.b), vpaddq_s32(sums.c, sums.d));
  const int32x4_t y =
      requantize(vaddq_s32(each, vld1q_s32(block.bias)), vld1q_f32(block.multiplier));
  const int16x4_t words = vmovn_s32(y);
  const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
  const uint32_t all = vget_lane_u32(vreinterpret_u32_s8(bytes), 0);
  if (block.channels == kK16N4.channels) {
    std::memcpy(out, &all, kK16N4.channels);
  } else {
    std::memcpy(out, &all, block.channels);
  }
}

// One segment for two pixels or one, with int32 sums in registers: 16 vectors of four pixels leave
// room for the int16 sums of two.
template <int kPixels>
ACCQ_INLINE inline void AddSegment(int32_t length, const Group* steps, const int32_t* offsets,
                                   const int8_t* const* operands, Pixels<Sums32, kPixels>& sums) {
  if constexpr (kPixels > 0) {
    const Weights w = LoadWeights(steps[0]);
    Sums16 first = Multiply(vld1q_s8(operands[0] + offsets[0]), w), second;
    if constexpr (kPixels > 1) second = Multiply(vld1q_s8(operands[1] + offsets[0]), w);
    for (int32_t s = 1; s < length; ++s) {
      const Weights next = LoadWeights(steps[s]);
      MultiplyAdd(vld1q_s8(operands[0] + offsets[s]), next, &first);
      if constexpr (kPixels > 1) MultiplyAdd(vld1q_s8(operands[1] + offsets[s]), next, &second);
    }
    AddWidened(first, &sums.first);
    KeepInRegisters(sums.first);
    if constexpr (kPixels > 1) {
      AddWidened(second, &sums.rest.first);
      KeepInRegisters(sums.rest.first);
      AddSegment(length, steps, offsets, operands + 2, sums.rest.rest);
    }
  }
}

template <int kPixels>
ACCQ_INLINE inline void AddSegments(int32_t count, int32_t length, const Group*& steps,
                                    const int32_t*& offsets, const int8_t* const* operands,
                                    Pixels<Sums32, kPixels>& sums) {
  for (; count > 0; --count, steps += length, offsets += length) {
    AddSegment(length, steps, offsets, operands, sums);
  }
}

template <int kPixels>
void ShortTile(const ConvBlock& block, const ConvTile& tile, const OutputRange& range) {
  const int8_t* operands[kPixels];
  Pixels<Sums32, kPixels> sums;
  ForEach(sums, [&](int i, Sums32& pixel) ACCQ_INLINE {
    operands[i] = reinterpret_cast<const int8_t*>(tile.operands) + tile.pixels[i];
    pixel = Zeros();
  });
  const Group* steps = block.steps;
  const int32_t* offsets = block.offsets;
  for (size_t s = 0; s < block.segment_kinds; ++s) {
    const auto [length, count] = block.segments[s];
    switch (length) {  // short loops unroll
      case 1:
        AddSegments(count, 1, steps, offsets, operands, sums);
        break;
      case 2:
        AddSegments(count, 2, steps, offsets, operands, sums);
        break;
      default:
        AddSegments(count, length, steps, offsets, operands, sums);
        break;
    }
  }
  const Requantizer requantize(range);
  ForEach(sums, [&](int i, Sums32& pixel) ACCQ_INLINE {
    Store(block, requantize, pixel, tile.out + i * tile.out_stride);
  });
}

struct LongPixel {
  const int8_t* operands;
  Sums16 sums;
};

template <int kPixels>
void LongTile(const ConvBlock& block, const ConvTile& tile, const OutputRange& range) {
  Sums32 sums[kPixels];
  Pixels<LongPixel, kPixels> pixels;
  ForEach(pixels, [&](int i, LongPixel& pixel) ACCQ_INLINE {
    pixel.operands = reinterpret_cast<const int8_t*>(tile.operands) + tile.pixels[i];
    sums[i] = Zeros();
  });
  const Group* steps = block.steps;
  const int32_t* offsets = block.offsets;
  for (size_t s = 0; s < block.segment_kinds; ++s) {
    const auto [length, count] = block.segments[s];
    for (int32_t n = 0; n < count; ++n) {
      const Weights w = LoadWeights(*steps++);
      const ptrdiff_t first = *offsets++;
      ForEach(pixels, [&](int, LongPixel& pixel) ACCQ_INLINE {
        pixel.sums = Multiply(vld1q_s8(pixel.operands + first), w);
        KeepInRegisters(pixel.sums);
      });
      for (int32_t i = 1; i < length; ++i) {
        const Weights next = LoadWeights(*steps++);
        const ptrdiff_t offset = *offsets++;
        ForEach(pixels, [&](int, LongPixel& pixel) ACCQ_INLINE {
          MultiplyAdd(vld1q_s8(pixel.operands + offset), next, &pixel.sums);
          KeepInRegisters(pixel.sums);
        });
      }
      ForEach(pixels,
              [&](int i, LongPixel& pixel) ACCQ_INLINE { AddWidened(pixel.sums, &sums[i]); });
    }
  }
  const Requantizer requantize(range);
  for (int i = 0; i < kPixels; ++i) {
    Store(block, requantize, sums[i], tile.out + i * tile.out_stride);
  }
}

#ifdef __aarch64__
constexpr ConvTileFunction kShortTiles[] = {ShortTile<1>, ShortTile<2>, ShortTile<3>, ShortTile<4>};
constexpr ConvTileFunction kLongTiles[] = {LongTile<1>, LongTile<2>, LongTile<3>, LongTile<4>};
#else  // half the registers
constexpr ConvTileFunction kShortTiles[] = {ShortTile<1>};
constexpr ConvTileFunction kLongTiles[] = {LongTile<1>, LongTile<2>};
#endif

}  // namespace

int Dot8TilePixels(TileKind kind) {
  return static_cast<int>(kind == TileKind::kLongShifted ? std::size(kLongTiles)
                                                         : std::size(kShortTiles));
}

ConvTileFunction FindDot8Tile(TileKind kind, int pixels, int) {
  return (kind == TileKind::kLongShifted ? kLongTiles : kShortTiles)[pixels - 1];
}

}  // namespace accq
