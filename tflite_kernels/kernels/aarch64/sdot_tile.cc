#include "kernels/aarch64/sdot_tile.h"

#include <cstddef>
#include <cstdint>
#include <iterator>

#include "kernels/aarch64/assembly.h"
#include "kernels/aarch64/dot_outputs.h"

namespace accq {
namespace {

// clang-format off

// Sums of pixel p in four registers from v(16 + 4 * p) on, operands of pixel p in v(8 + p).
#define SDOT(p, x, j, a, b, c, d, w0, w1, w2, w3)               \
  PIXEL(p, "sdot v" #a ".4s, v" #w0 ".16b, v" #x ".4b[" #j "]\n" \
           "sdot v" #b ".4s, v" #w1 ".16b, v" #x ".4b[" #j "]\n" \
           "sdot v" #c ".4s, v" #w2 ".16b, v" #x ".4b[" #j "]\n" \
           "sdot v" #d ".4s, v" #w3 ".16b, v" #x ".4b[" #j "]\n")
// The products with four bytes of each pixel, j: those of the block's channels at `place` and at
// `more` among the step's weights.
#define FOUR_BYTES(j, place, more, w0, w1, w2, w3)              \
  "ldp q" #w0 ", q" #w1 ", [%[weights], #" #place "]\n"         \
  "ldp q" #w2 ", q" #w3 ", [%[weights], #" #more "]\n"          \
  SDOT(0, 8, j, 16, 17, 18, 19, w0, w1, w2, w3)                 \
  SDOT(1, 9, j, 20, 21, 22, 23, w0, w1, w2, w3)                 \
  SDOT(2, 10, j, 24, 25, 26, 27, w0, w1, w2, w3)                \
  SDOT(3, 11, j, 28, 29, 30, 31, w0, w1, w2, w3)
#define STORE(p, a, b, c, d, place, more)                       \
  PIXEL(p, "stp q" #a ", q" #b ", [%[sums], #" #place "]\n"     \
           "stp q" #c ", q" #d ", [%[sums], #" #more "]\n")

template <int kPixels>
void Sum(const ConvBlock& block, const int8_t* const* operands, int32_t (*sums)[kDotChannels]) {
  const Group* weights = block.steps;
  const int32_t* offsets = block.offsets;
  size_t left = block.num_steps;
  int64_t offset;
  asm volatile(
    ".arch armv8.2-a+dotprod\n"
    ZERO(0, 16, 17, 18, 19)
    ZERO(1, 20, 21, 22, 23)
    ZERO(2, 24, 25, 26, 27)
    ZERO(3, 28, 29, 30, 31)
    "1:\n"
    "// loop sdot_%c[pixels]\n"
    "ldrsw %[offset], [%[offsets]], #4\n"
    OPERANDS(0, 8, "%[offset]")
    OPERANDS(1, 9, "%[offset]")
    OPERANDS(2, 10, "%[offset]")
    OPERANDS(3, 11, "%[offset]")
    FOUR_BYTES(0, 0, 32, 0, 1, 2, 3)
    FOUR_BYTES(1, 64, 96, 4, 5, 6, 7)
    FOUR_BYTES(2, 128, 160, 0, 1, 2, 3)
    FOUR_BYTES(3, 192, 224, 4, 5, 6, 7)
    "add %[weights], %[weights], #256\n"
    "subs %[left], %[left], #1\n"
    "b.ne 1b\n"
    "// end\n"
    STORE(0, 16, 17, 18, 19, 0, 32)
    STORE(1, 20, 21, 22, 23, 64, 96)
    STORE(2, 24, 25, 26, 27, 128, 160)
    STORE(3, 28, 29, 30, 31, 192, 224)
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

int SdotTilePixels(TileKind) { return std::size(kTiles); }
ConvTileFunction FindSdotTile(TileKind, int pixels, int) { return kTiles[pixels - 1]; }

}  // namespace accq
