// The inner loops of avx2_k4n16: a tile of output pixels by a block of 16 output channels.
#ifndef ACCQ_KERNELS_AVX2_CONV_TILE_H_
#define ACCQ_KERNELS_AVX2_CONV_TILE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/conv_layout.h"
#include "kernels/output_range.h"
#include "kernels/schedule.h"

namespace accq {

// A block of channels, packed (conv_layout.h).
struct ConvBlock {
  const Group* steps;
  const int32_t* offsets;  // of each step's bytes from a pixel's first operand
  const Segments* segments;
  size_t segment_kinds;
  const int32_t* bias;      // [16], with what shifted operands need folded in
  const float* multiplier;  // [16]
  int32_t channels;         // 1 to 16 of them are real
};

// The pixels of a tile and where their outputs go.
struct ConvTile {
  const uint8_t* operands;
  const ptrdiff_t* pixels;  // of each pixel's first operand from `operands`
  ptrdiff_t value_plane;    // kSigned: from the byte of |x| to the byte of x
  int8_t* out;              // of the first pixel and the block's first channel
  ptrdiff_t out_stride;     // from pixel to pixel
};

using ConvTileFunction = void (*)(const ConvBlock&, const ConvTile&, const OutputRange&);

// How the int16 sums are held.
//   kShort: int32 sums stay in registers; right for segments of a few steps.
//   kLong: int16 sums stay in registers, for more pixels at a time; int32 sums are in memory.
enum class TileKind { kShortShifted, kShortSigned, kLongShifted };

inline int TilePixels(TileKind kind) { return kind == TileKind::kLongShifted ? 6 : 4; }

// The loop for 1 to TilePixels(kind) pixels and a block of `channels` channels.
ConvTileFunction FindConvTile(TileKind kind, int pixels, int channels);

}  // namespace accq

#endif  // ACCQ_KERNELS_AVX2_CONV_TILE_H_
