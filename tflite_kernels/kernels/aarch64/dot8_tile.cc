// The inner loops of neon_dot8 on 64-bit ARM, in assembly: in-order cores like Cortex-A53 run
// instructions as they stand, so loads stand between multiplications, well before their use. A
// multiplication of 8 products fills a cycle there, and there are 32 registers: how many sums they
// hold decides how many loads each multiplication costs.
//
//   long:  int16 sums of 6 pixels by 4 channels; int32 sums in memory
//   short: int16 and int32 sums of 3 pixels by 4 channels
//
// Both load a step ahead: weights and offset of the step behind the last one are read (and are
// there, see ConvBlock) but not used.
#include "kernels/neon/dot8_tile.h"

#include <cstddef>
#include <cstdint>
#include <iterator>

#include "kernels/aarch64/assembly.h"
#include "kernels/aarch64/lane_outputs.h"
#include "kernels/aarch64/short_segments.h"
#include "kernels/conv_loops.h"
#include "kernels/inline.h"

namespace accq {
namespace {

static_assert(sizeof(Group) == 64 && sizeof(Segments) == 8, "the assembly below counts on it");

// clang-format off

// The products of pixel p's bytes 0-7, in register x, with those of two channels, in registers v and
// w, to sums a and b; and of bytes 8-15.
#define LOW(multiply, p, a, b, x, v, w)                         \
  PIXEL(p, multiply " v" #a ".8h, v" #x ".8b, v" #v ".8b\n"     \
           multiply " v" #b ".8h, v" #x ".8b, v" #w ".8b\n")
#define HIGH(p, a, b, x, v, w)                                  \
  PIXEL(p, "smlal2 v" #a ".8h, v" #x ".16b, v" #v ".16b\n"      \
           "smlal2 v" #b ".8h, v" #x ".16b, v" #w ".16b\n")

// Long: sums of pixel p and channel c in v(8 + 4 * p + c), weights of the channels in v0-v3,
// operands in v4-v7: of the pixels in x0-x5, and of the next step's first three in n0-n2. `now` and
// `next` hold the steps' offsets, `next_at` is where the latter stands. `first` and `second` are
// where the second half of this step's weights lies and the first of the next one's.
#define LONG_STEP(multiply, x0, x1, x2, x3, x4, x5, n0, n1, n2, now, next, next_at, first, second) \
  LOW(multiply, 0, 8, 9, x0, 0, 1)      \
  WEIGHTS(2, 3, first)                  \
  LOW(multiply, 1, 12, 13, x1, 0, 1)    \
  LOW(multiply, 2, 16, 17, x2, 0, 1)    \
  HIGH(0, 8, 9, x0, 0, 1)               \
  OPERANDS(3, x3, now)                  \
  HIGH(1, 12, 13, x1, 0, 1)             \
  HIGH(2, 16, 17, x2, 0, 1)             \
  LOW(multiply, 0, 10, 11, x0, 2, 3)    \
  LOW(multiply, 1, 14, 15, x1, 2, 3)    \
  LOW(multiply, 2, 18, 19, x2, 2, 3)    \
  HIGH(0, 10, 11, x0, 2, 3)             \
  OPERANDS(4, x4, now)                  \
  HIGH(1, 14, 15, x1, 2, 3)             \
  OPERANDS(5, x5, now)                  \
  HIGH(2, 18, 19, x2, 2, 3)             \
  LOW(multiply, 3, 20, 21, x3, 0, 1)    \
  "ldrsw " next ", " next_at "\n"       \
  LOW(multiply, 4, 24, 25, x4, 0, 1)    \
  LOW(multiply, 5, 28, 29, x5, 0, 1)    \
  HIGH(3, 20, 21, x3, 0, 1)             \
  OPERANDS(0, n0, next)                 \
  HIGH(4, 24, 25, x4, 0, 1)             \
  HIGH(5, 28, 29, x5, 0, 1)             \
  WEIGHTS(0, 1, second)                 \
  LOW(multiply, 3, 22, 23, x3, 2, 3)    \
  LOW(multiply, 4, 26, 27, x4, 2, 3)    \
  LOW(multiply, 5, 30, 31, x5, 2, 3)    \
  HIGH(3, 22, 23, x3, 2, 3)             \
  OPERANDS(1, n1, next)                 \
  HIGH(4, 26, 27, x4, 2, 3)             \
  OPERANDS(2, n2, next)                 \
  HIGH(5, 30, 31, x5, 2, 3)

#define LONG_ODD(next_at, first, second) \
  LONG_STEP("smlal", 6, 7, 4, 5, 6, 7,  4, 5, 6, "%[next]", "%[now]", next_at, first, second)
#define LONG_EVEN(next_at, first, second) \
  LONG_STEP("smlal", 4, 5, 6, 7, 4, 5,  6, 7, 4, "%[now]", "%[next]", next_at, first, second)
#define LONG_PAIR(end, behind, a, b, c, d) \
  LONG_ODD("[" end ", %[left]]", a, b) LONG_EVEN("[" behind ", %[left]]", c, d)

// Adds pixel p's int16 sums to its int32 sums in memory, or begins these.
#define SPILL_TWO(a, b, place)                                  \
  "ldp q0, q1, [%[sums], #" #place "]\n"                        \
  "sadalp v0.4s, v" #a ".8h\n"                                  \
  "sadalp v1.4s, v" #b ".8h\n"                                  \
  "stp q0, q1, [%[sums], #" #place "]\n"
#define BEGIN_TWO(a, b, place)                                  \
  "saddlp v0.4s, v" #a ".8h\n"                                  \
  "saddlp v1.4s, v" #b ".8h\n"                                  \
  "stp q0, q1, [%[sums], #" #place "]\n"
#define ALL_SUMS(two)                                           \
  PIXEL(0, two(8, 9, 0) two(10, 11, 32))                        \
  PIXEL(1, two(12, 13, 64) two(14, 15, 96))                     \
  PIXEL(2, two(16, 17, 128) two(18, 19, 160))                   \
  PIXEL(3, two(20, 21, 192) two(22, 23, 224))                   \
  PIXEL(4, two(24, 25, 256) two(26, 27, 288))                   \
  PIXEL(5, two(28, 29, 320) two(30, 31, 352))

// One segment of `length` steps.
template <int kPixels>
void AddLongSegment(const Group* weights, const int32_t* offsets, int32_t length,
                    const int8_t* const* operands, bool first, int32_t (*sums)[4][4]) {
  // Operands' registers take turns, so steps come in pairs: two pairs as long as there are, then
  // one, then a single step. The offset behind a step's own is `left` bytes from the offsets' end
  // for the first of a pair, from `behind` for the second; `left` is kept less by 12, what the
  // loop of two pairs asks about.
  const int32_t* const end = offsets + length;
  int64_t left = 4 - 4 * int64_t{length} + 12, now, next;
  asm volatile(
    "ldrsw %[now], [%[offsets]]\n"
    WEIGHTS(0, 1, 0)
    OPERANDS(0, 4, "%[now]")
    OPERANDS(1, 5, "%[now]")
    OPERANDS(2, 6, "%[now]")
    LONG_STEP("smull", 4, 5, 6, 7, 4, 5,  6, 7, 4, "%[now]", "%[next]", "[%[end], %[left]]", 32, 64)
    "add %[weights], %[weights], #64\n"
    "adds %[left], %[left], #4\n"
    "b.gt 2f\n"
    "1:\n"
    "// loop dot8_long_%c[pixels]\n"
    LONG_PAIR("%[end]", "%[behind]", 32, 64, 96, 128)
    LONG_PAIR("%[end2]", "%[behind2]", 160, 192, 224, 256)
    "add %[weights], %[weights], #256\n"
    "adds %[left], %[left], #16\n"
    "b.le 1b\n"
    "// end\n"
    "2:\n"
    "cmp %[left], #12\n"
    "b.gt 4f\n"
    "b.eq 3f\n"
    LONG_PAIR("%[end]", "%[behind]", 32, 64, 96, 128)
    "add %[weights], %[weights], #128\n"
    "add %[left], %[left], #8\n"
    "cmp %[left], #12\n"
    "b.gt 4f\n"
    "3:\n"
    LONG_ODD("[%[end], %[left]]", 32, 64)
    "4:\n"
    "cbnz %w[first], 5f\n"
    ALL_SUMS(SPILL_TWO)
    "b 6f\n"
    "5:\n"
    ALL_SUMS(BEGIN_TWO)
    "6:\n"
    : [weights] "+r"(weights), [left] "+r"(left), [now] "=&r"(now), [next] "=&r"(next)
    : [pixels] "i"(kPixels), [offsets] "r"(offsets), [end] "r"(end - 3), [behind] "r"(end - 2),
      [end2] "r"(end - 1), [behind2] "r"(end), [first] "r"(static_cast<int32_t>(first)),
      [sums] "r"(sums), [p0] "r"(operands[0]), [p1] "r"(operands[1]), [p2] "r"(operands[2]),
      [p3] "r"(operands[3]), [p4] "r"(operands[4]), [p5] "r"(operands[5])
    : EVERY_VECTOR, "cc", "memory");
}

// Short: see short_segments.h.
#define SHORT_STEP(multiply, half, next, offset)                \
  LOW(multiply, 0, 8, 9, 4, 0, 1)                               \
  WEIGHTS(2, 3, half)                                           \
  LOW(multiply, 1, 12, 13, 5, 0, 1)                             \
  LOW(multiply, 2, 16, 17, 6, 0, 1)                             \
  HIGH(0, 8, 9, 4, 0, 1)                                        \
  HIGH(1, 12, 13, 5, 0, 1)                                      \
  "ldrsw %[now], [%[offsets], #" #offset "]\n"                  \
  HIGH(2, 16, 17, 6, 0, 1)                                      \
  LOW(multiply, 0, 10, 11, 4, 2, 3)                             \
  WEIGHTS(0, 1, next)                                           \
  LOW(multiply, 1, 14, 15, 5, 2, 3)                             \
  LOW(multiply, 2, 18, 19, 6, 2, 3)                             \
  HIGH(0, 10, 11, 4, 2, 3)                                      \
  OPERANDS(0, 4, "%[now]")                                      \
  HIGH(1, 14, 15, 5, 2, 3)                                      \
  OPERANDS(1, 5, "%[now]")                                      \
  HIGH(2, 18, 19, 6, 2, 3)                                      \
  OPERANDS(2, 6, "%[now]")
#define WIDEN(p, a, b, c, d)                                    \
  PIXEL(p, "sadalp v" #c ".4s, v" #a ".8h\n" "sadalp v" #d ".4s, v" #b ".8h\n")

// All segments. `sums` receives the int32 sums.
template <int kPixels>
void AddShortSegments(const ConvBlock& block, const int8_t* const* operands,
                      int32_t (*sums)[4][4]) {
  const Group* weights = block.steps;
  const int32_t* offsets = block.offsets;
  const Segments* segments = block.segments;
  int64_t now;
  int32_t length, count, left;
  asm volatile(
    SHORT_SEGMENTS("dot8_short", SHORT_STEP, "smull", "smlal", WIDEN)
    PIXEL(0, "stp q20, q21, [%[sums]]\n" "stp q22, q23, [%[sums], #32]\n")
    PIXEL(1, "stp q24, q25, [%[sums], #64]\n" "stp q26, q27, [%[sums], #96]\n")
    PIXEL(2, "stp q28, q29, [%[sums], #128]\n" "stp q30, q31, [%[sums], #160]\n")
    SHORT_OPERANDS);
}

// clang-format on

template <int kPixels>
void LongTile(const ConvBlock& block, const ConvTile& tiles, const OutputRange& range) {
  ForEachLaneTile<kPixels>(block, tiles, range, [&](auto& operands, auto* sums) ACCQ_INLINE {
    const Group* weights = block.steps;
    const int32_t* offsets = block.offsets;
    bool first = true;
    for (size_t s = 0; s < block.segment_kinds; ++s) {
      const auto [length, count] = block.segments[s];
      for (int32_t n = 0; n < count; ++n, weights += length, offsets += length, first = false) {
        AddLongSegment<kPixels>(weights, offsets, length, operands, first, sums);
      }
    }
  });
}

template <int kPixels>
void ShortTile(const ConvBlock& block, const ConvTile& tiles, const OutputRange& range) {
  ForEachLaneTile<kPixels>(block, tiles, range, [&](auto& operands, auto* sums) ACCQ_INLINE {
    AddShortSegments<kPixels>(block, operands, sums);
  });
}

constexpr ConvTileFunction kShortTiles[] = {ShortTile<1>, ShortTile<2>, ShortTile<3>};
constexpr ConvTileFunction kLongTiles[] = {LongTile<1>, LongTile<2>, LongTile<3>,
                                           LongTile<4>, LongTile<5>, LongTile<6>};

}  // namespace

int Dot8TilePixels(TileKind kind) {
  return static_cast<int>(kind == TileKind::kLongShifted ? std::size(kLongTiles)
                                                         : std::size(kShortTiles));
}

ConvTileFunction FindDot8Tile(TileKind kind, int pixels, int) {
  return (kind == TileKind::kLongShifted ? kLongTiles : kShortTiles)[pixels - 1];
}

}  // namespace accq
