// What an instruction set gives to convolve with weights in one of the layouts of conv_layout.h:
// the inner loops over a tile of output pixels by a block of output channels.
#ifndef ACCQ_KERNELS_CONV_LOOPS_H_
#define ACCQ_KERNELS_CONV_LOOPS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/conv_layout.h"
#include "kernels/operands.h"
#include "kernels/output_range.h"
#include "kernels/schedule.h"

namespace accq {

inline constexpr int32_t kMostBlockChannels = 32;

// A block of channels, packed. Each step has a group for every layout.channels of them, one behind
// the other. The weights of a channel are in the order of the bytes. Behind the last step there is
// one more offset and, where operands are stored, one more group, for loops that load a step ahead.
struct ConvBlock {
  const Group* steps;
  size_t num_steps;
  const int32_t* offsets;  // of each step's bytes from a pixel's first operand
  const Segments* segments;
  size_t segment_kinds;
  const int32_t* bias;      // of whole groups, with what shifted operands need folded in
  const float* multiplier;  // of whole groups
  int32_t channels;         // that are real
};

// The pixels of a tile and where their outputs go; or of several tiles of as many, one behind the
// other.
struct ConvTile {
  const uint8_t* operands;
  const ptrdiff_t* pixels;  // of each pixel's first operand from `operands`
  ptrdiff_t value_plane;    // kSigned: from the byte of |x| to the byte of x
  int8_t* out;              // of the first pixel and the block's first channel
  ptrdiff_t out_stride;     // from pixel to pixel
  int32_t count;            // of tiles; 1 unless the loops take many
};

using ConvTileFunction = void (*)(const ConvBlock&, const ConvTile&, const OutputRange&);

// How the sums of a block are held. Shifted stands for stored operands too: one instruction
// multiplies.
//   kShort: int16 sums are short-lived, int32 sums stay in registers; right for segments of a few
//     steps.
//   kLong: int16 sums stay in registers, for more pixels at a time; int32 sums are in memory.
//   kDot: one instruction adds four products to an int32 sum, so there are no segments.
enum class TileKind { kShortShifted, kShortSigned, kLongShifted, kDot };

struct ConvLoops {
  const char* kernel;      // its name
  bool dots;               // every block is kDot; else none
  int32_t block_channels;  // those of a group or, if `dots`, of several
  MapOperands map;
  int (*tile_pixels)(TileKind kind);
  // The loop for 1 to tile_pixels(kind) pixels and a block of `channels` channels.
  ConvTileFunction (*find_tile)(TileKind kind, int pixels, int channels);
  ConvLayout layout = kK4N16;
  bool stored = false;  // every block multiplies stored operands (Form::kStored); else none
  // From this mean length of a segment on, int16 sums get the registers: each spill then loads,
  // adds and stores int32 sums, which the steps between must outweigh.
  size_t long_segment = 6;
  // Where a weight stands in a step, of a channel of the block and a byte; null: in the order of
  // groups, channels and bytes. For dot products.
  int32_t (*place)(int32_t channel, int32_t byte) = nullptr;
  bool takes_many = false;  // tiles at once
  bool bytes = false;       // stored operands are multiplied in int8 lanes (Form::kBytes)
};

}  // namespace accq

#endif  // ACCQ_KERNELS_CONV_LOOPS_H_
