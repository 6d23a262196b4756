#include "kernels/aarch64/smmla_tile.h"

#include <cstddef>
#include <cstdint>
#include <iterator>

#include "kernels/aarch64/assembly.h"
#include "kernels/aarch64/dot_outputs.h"

namespace accq {
namespace {

// clang-format off

// Sums of pixels 0 and 1 and channels 2 * i and 2 * i + 1 in v(16 + i), those of pixels 2 and 3 in
// v(24 + i): pixel 0's two, then pixel 1's.
// Bytes 0-7 of two pixels to register `low`, bytes 8-15 to `high`.
#define TWO_PIXELS(p, first, second, x, y, low, high)           \
  PIXEL(p, "ldr q" #x ", [%[" first "], %[offset]]\n"           \
           "ldr q" #y ", [%[" second "], %[offset]]\n"          \
           "zip1 v" #low ".2d, v" #x ".2d, v" #y ".2d\n"        \
           "zip2 v" #high ".2d, v" #x ".2d, v" #y ".2d\n")
#define SMMLA(p, x, a, b, c, d, w0, w1, w2, w3)                 \
  PIXEL(p, "smmla v" #a ".4s, v" #x ".16b, v" #w0 ".16b\n"      \
           "smmla v" #b ".4s, v" #x ".16b, v" #w1 ".16b\n"      \
           "smmla v" #c ".4s, v" #x ".16b, v" #w2 ".16b\n"      \
           "smmla v" #d ".4s, v" #x ".16b, v" #w3 ".16b\n")
// The products of eight channels, whose weights are at `place` and `more`, with operands x of the
// first two pixels and y of the others.
#define EIGHT_CHANNELS(place, more, x, y, a, b, c, d, e, f, g, h, w0, w1, w2, w3) \
  "ldp q" #w0 ", q" #w1 ", [%[weights], #" #place "]\n"         \
  "ldp q" #w2 ", q" #w3 ", [%[weights], #" #more "]\n"          \
  SMMLA(0, x, a, b, c, d, w0, w1, w2, w3)                       \
  SMMLA(2, y, e, f, g, h, w0, w1, w2, w3)
// Sums of four channels of two pixels, each pixel's side by side.
#define STORE(p, a, b, first, second)                           \
  PIXEL(p, "zip1 v0.2d, v" #a ".2d, v" #b ".2d\n"               \
           "zip2 v1.2d, v" #a ".2d, v" #b ".2d\n"               \
           "str q0, [%[sums], #" #first "]\n"                   \
           "str q1, [%[sums], #" #second "]\n")

// `sums` has room for an even number of pixels.
template <int kPixels>
void Sum(const ConvBlock& block, const int8_t* const* operands, int32_t (*sums)[kDotChannels]) {
  const Group* weights = block.steps;
  const int32_t* offsets = block.offsets;
  size_t left = block.num_steps;
  int64_t offset;
  asm volatile(
    ".arch armv8.2-a+i8mm\n"
    ZERO(0, 16, 17, 18, 19)
    ZERO(0, 20, 21, 22, 23)
    ZERO(2, 24, 25, 26, 27)
    ZERO(2, 28, 29, 30, 31)
    "1:\n"
    "// loop smmla_%c[pixels]\n"
    "ldrsw %[offset], [%[offsets]], #4\n"
    TWO_PIXELS(0, "p0", "p1", 8, 9, 12, 13)
    TWO_PIXELS(2, "p2", "p3", 10, 11, 14, 15)
    EIGHT_CHANNELS(0, 32, 12, 14, 16, 17, 18, 19, 24, 25, 26, 27, 0, 1, 2, 3)
    EIGHT_CHANNELS(64, 96, 12, 14, 20, 21, 22, 23, 28, 29, 30, 31, 4, 5, 6, 7)
    EIGHT_CHANNELS(128, 160, 13, 15, 16, 17, 18, 19, 24, 25, 26, 27, 0, 1, 2, 3)
    EIGHT_CHANNELS(192, 224, 13, 15, 20, 21, 22, 23, 28, 29, 30, 31, 4, 5, 6, 7)
    "add %[weights], %[weights], #256\n"
    "subs %[left], %[left], #1\n"
    "b.ne 1b\n"
    "// end\n"
    STORE(0, 16, 17, 0, 64)
    STORE(0, 18, 19, 16, 80)
    STORE(0, 20, 21, 32, 96)
    STORE(0, 22, 23, 48, 112)
    STORE(2, 24, 25, 128, 192)
    STORE(2, 26, 27, 144, 208)
    STORE(2, 28, 29, 160, 224)
    STORE(2, 30, 31, 176, 240)
    DOT_OPERANDS);
}

// clang-format on

template <int kPixels>
void Run(const ConvBlock& block, const ConvTile& tiles, const OutputRange& range) {
  ForEachDotTile<kPixels>(block, tiles, range, [&](auto& operands, auto& sums) ACCQ_INLINE {
    Sum<kPixels>(block, operands, sums);
  });
}

constexpr ConvTileFunction kTiles[] = {Run<1>, Run<2>, Run<3>, Run<4>};

}  // namespace

int SmmlaTilePixels(TileKind) { return std::size(kTiles); }
ConvTileFunction FindSmmlaTile(TileKind, int pixels, int) { return kTiles[pixels - 1]; }

}  // namespace accq
