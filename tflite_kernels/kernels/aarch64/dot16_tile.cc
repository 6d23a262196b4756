// Sums of 3 pixels by 4 channels in 8 bits, and in registers beside them the sums in 16 bits that
// each segment's are added to (SADALP). These become int32 at the end of the block.
#include "kernels/aarch64/dot16_tile.h"

#include <cstdint>
#include <iterator>

#include "kernels/aarch64/assembly.h"
#include "kernels/aarch64/lane_outputs.h"
#include "kernels/aarch64/short_segments.h"
#include "kernels/inline.h"

namespace accq {
namespace {

// clang-format off

// The products of pixel p's operands, in register x, with the weights of two channels, in v and w.
#define PRODUCTS(multiply, p, a, b, x, v, w)                    \
  PIXEL(p, multiply " v" #a ".16b, v" #x ".16b, v" #v ".16b\n"  \
           multiply " v" #b ".16b, v" #x ".16b, v" #w ".16b\n")
#define STEP(multiply, half, next, offset)                      \
  PRODUCTS(multiply, 0, 8, 9, 4, 0, 1)                          \
  WEIGHTS(2, 3, half)                                           \
  PRODUCTS(multiply, 1, 12, 13, 5, 0, 1)                        \
  "ldrsw %[now], [%[offsets], #" #offset "]\n"                  \
  PRODUCTS(multiply, 2, 16, 17, 6, 0, 1)                        \
  WEIGHTS(0, 1, next)                                           \
  PRODUCTS(multiply, 0, 10, 11, 4, 2, 3)                        \
  OPERANDS(0, 4, "%[now]")                                      \
  PRODUCTS(multiply, 1, 14, 15, 5, 2, 3)                        \
  OPERANDS(1, 5, "%[now]")                                      \
  PRODUCTS(multiply, 2, 18, 19, 6, 2, 3)                        \
  OPERANDS(2, 6, "%[now]")
#define WIDEN(p, a, b, c, d)                                    \
  PIXEL(p, "sadalp v" #c ".8h, v" #a ".16b\n" "sadalp v" #d ".8h, v" #b ".16b\n")
#define STORE(p, a, b, c, d, place, more)                       \
  PIXEL(p, "saddlp v0.4s, v" #a ".8h\n" "saddlp v1.4s, v" #b ".8h\n" \
           "saddlp v2.4s, v" #c ".8h\n" "saddlp v3.4s, v" #d ".8h\n" \
           "stp q0, q1, [%[sums], #" #place "]\n"               \
           "stp q2, q3, [%[sums], #" #more "]\n")

template <int kPixels>
void Sum(const ConvBlock& block, const int8_t* const* operands, int32_t (*sums)[4][4]) {
  const Group* weights = block.steps;
  const int32_t* offsets = block.offsets;
  const Segments* segments = block.segments;
  int64_t now;
  int32_t length, count, left;
  asm volatile(
    SHORT_SEGMENTS("dot16", STEP, "mul", "mla", WIDEN)
    STORE(0, 20, 21, 22, 23, 0, 32)
    STORE(1, 24, 25, 26, 27, 64, 96)
    STORE(2, 28, 29, 30, 31, 128, 160)
    SHORT_OPERANDS);
}

// clang-format on

template <int kPixels>
void Tile(const ConvBlock& block, const ConvTile& tiles, const OutputRange& range) {
  ForEachLaneTile<kPixels>(block, tiles, range, [&](auto& operands, auto* sums) ACCQ_INLINE {
    Sum<kPixels>(block, operands, sums);
  });
}

constexpr ConvTileFunction kTiles[] = {Tile<1>, Tile<2>, Tile<3>};

}  // namespace

int Dot16TilePixels(TileKind) { return static_cast<int>(std::size(kTiles)); }

ConvTileFunction FindDot16Tile(TileKind, int pixels, int) { return kTiles[pixels - 1]; }

}  // namespace accq
