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

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>

#include "kernels/aarch64/assembly.h"
#include "kernels/conv_loops.h"
#include "kernels/inline.h"
#include "kernels/neon/requantize.h"

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
#define WEIGHTS(v, w, place) "ldp q" #v ", q" #w ", [%[weights], #" #place "]\n"

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

// Short: int16 sums of pixel p and channel c in v(8 + 4 * p + c), int32 sums in v(20 + 4 * p + c),
// weights in v0-v3, operands in v4-v6. `step`, `next` and `offset` are where this step's and the
// next one's weights and the next one's offset lie, from those of the segment.
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

#define STEPS_1 SHORT_STEP("smull", 32, 64, 4)
#define STEPS_2 STEPS_1 SHORT_STEP("smlal", 96, 128, 8)
#define STEPS_3 STEPS_2 SHORT_STEP("smlal", 160, 192, 12)
#define STEPS_4 STEPS_3 SHORT_STEP("smlal", 224, 256, 16)
#define STEPS_5 STEPS_4 SHORT_STEP("smlal", 288, 320, 20)
#define STEPS_6 STEPS_5 SHORT_STEP("smlal", 352, 384, 24)
#define STEPS_7 STEPS_6 SHORT_STEP("smlal", 416, 448, 28)
#define STEPS_8 STEPS_7 SHORT_STEP("smlal", 480, 512, 32)

// `count` segments of as many steps.
#define SEGMENTS(label, steps, weight_bytes, offset_bytes)      \
  #label ":\n"                                                  \
  "// loop dot8_short_%c[pixels]_of_" #label "\n"              \
  steps                                                         \
  WIDEN(0, 8, 9, 20, 21)                                        \
  "add %[weights], %[weights], #" #weight_bytes "\n"            \
  WIDEN(1, 12, 13, 24, 25)                                      \
  "add %[offsets], %[offsets], #" #offset_bytes "\n"            \
  WIDEN(2, 16, 17, 28, 29)                                      \
  "subs %w[count], %w[count], #1\n"                             \
  WIDEN(0, 10, 11, 22, 23)                                      \
  WIDEN(1, 14, 15, 26, 27)                                      \
  WIDEN(2, 18, 19, 30, 31)                                      \
  "b.ne " #label "b\n"                                          \
  "// end\n"                                                    \
  "b 90f\n"

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
    PIXEL(0, "movi v20.4s, #0\n" "movi v21.4s, #0\n" "movi v22.4s, #0\n" "movi v23.4s, #0\n")
    PIXEL(1, "movi v24.4s, #0\n" "movi v25.4s, #0\n" "movi v26.4s, #0\n" "movi v27.4s, #0\n")
    PIXEL(2, "movi v28.4s, #0\n" "movi v29.4s, #0\n" "movi v30.4s, #0\n" "movi v31.4s, #0\n")
    "ldrsw %[now], [%[offsets]]\n"
    WEIGHTS(0, 1, 0)
    OPERANDS(0, 4, "%[now]")
    OPERANDS(1, 5, "%[now]")
    OPERANDS(2, 6, "%[now]")
    "80:\n"
    "ldp %w[length], %w[count], [%[segments]], #8\n"
    "cmp %w[length], #2\n"
    "b.lt 1f\n"
    "b.eq 2f\n"
    "cmp %w[length], #4\n"
    "b.lt 3f\n"
    "b.eq 4f\n"
    "cmp %w[length], #6\n"
    "b.lt 5f\n"
    "b.eq 6f\n"
    "cmp %w[length], #8\n"
    "b.lt 7f\n"
    "b.eq 8f\n"
    // Any other length.
    "70:\n"
    STEPS_1
    "sub %w[left], %w[length], #1\n"
    "71:\n"
    "add %[weights], %[weights], #64\n"
    "add %[offsets], %[offsets], #4\n"
    SHORT_STEP("smlal", 32, 64, 4)
    "subs %w[left], %w[left], #1\n"
    "b.ne 71b\n"
    WIDEN(0, 8, 9, 20, 21)
    "add %[weights], %[weights], #64\n"
    WIDEN(1, 12, 13, 24, 25)
    "add %[offsets], %[offsets], #4\n"
    WIDEN(2, 16, 17, 28, 29)
    "subs %w[count], %w[count], #1\n"
    WIDEN(0, 10, 11, 22, 23)
    WIDEN(1, 14, 15, 26, 27)
    WIDEN(2, 18, 19, 30, 31)
    "b.ne 70b\n"
    "b 90f\n"
    SEGMENTS(1, STEPS_1, 64, 4)
    SEGMENTS(2, STEPS_2, 128, 8)
    SEGMENTS(3, STEPS_3, 192, 12)
    SEGMENTS(4, STEPS_4, 256, 16)
    SEGMENTS(5, STEPS_5, 320, 20)
    SEGMENTS(6, STEPS_6, 384, 24)
    SEGMENTS(7, STEPS_7, 448, 28)
    SEGMENTS(8, STEPS_8, 512, 32)
    "90:\n"
    "cmp %[segments], %[end]\n"
    "b.ne 80b\n"
    PIXEL(0, "stp q20, q21, [%[sums]]\n" "stp q22, q23, [%[sums], #32]\n")
    PIXEL(1, "stp q24, q25, [%[sums], #64]\n" "stp q26, q27, [%[sums], #96]\n")
    PIXEL(2, "stp q28, q29, [%[sums], #128]\n" "stp q30, q31, [%[sums], #160]\n")
    : [weights] "+r"(weights), [offsets] "+r"(offsets), [segments] "+r"(segments),
      [now] "=&r"(now), [length] "=&r"(length), [count] "=&r"(count), [left] "=&r"(left)
    : [pixels] "i"(kPixels), [end] "r"(block.segments + block.segment_kinds), [sums] "r"(sums),
      [p0] "r"(operands[0]), [p1] "r"(operands[1]), [p2] "r"(operands[2])
    : EVERY_VECTOR, "cc", "memory");
}

// clang-format on

// Turns the sums of a tile into outputs, four channels of a pixel at a time.
class Outputs {
 public:
  Outputs(const ConvBlock& block, const OutputRange& range)
      : requantize_(range),
        bias_(vld1q_s32(block.bias)),
        multiplier_(vld1q_f32(block.multiplier)),
        channels_(block.channels) {}

  // Writes those of kPixels pixels, `stride` bytes apart.
  template <int kPixels>
  ACCQ_INLINE void Store(const int32_t (*sums)[4][4], int8_t* out, ptrdiff_t stride) const {
    // Those that are not there stand for the last.
    const auto sum = [&](int i) { return Sum(sums[i < kPixels ? i : kPixels - 1]); };
    alignas(16) uint32_t all[(kPixels + 3) / 4][4];
#pragma GCC unroll 4
    for (int i = 0; i < kPixels; i += 4) {
      const int8x16_t outputs =
          requantize_.Four({sum(i), sum(i + 1), sum(i + 2), sum(i + 3)},
                           {multiplier_, multiplier_, multiplier_, multiplier_});
      vst1q_u32(all[i / 4], vreinterpretq_u32_s8(outputs));
    }
    if (channels_ == kK16N4.channels) {
#pragma GCC unroll 12
      for (int i = 0; i < kPixels; ++i) std::memcpy(out + i * stride, &all[i / 4][i % 4], 4);
    } else {
      for (int i = 0; i < kPixels; ++i)
        std::memcpy(out + i * stride, &all[i / 4][i % 4], channels_);
    }
  }

 private:
  ACCQ_INLINE int32x4_t Sum(const int32_t (*sums)[4]) const {
    const int32x4_t ab = vpaddq_s32(vld1q_s32(sums[0]), vld1q_s32(sums[1]));
    const int32x4_t cd = vpaddq_s32(vld1q_s32(sums[2]), vld1q_s32(sums[3]));
    return vaddq_s32(vpaddq_s32(ab, cd), bias_);
  }

  Requantizer requantize_;
  int32x4_t bias_;
  float32x4_t multiplier_;
  int32_t channels_;
};

// Calls body(operands, sums) for each tile. Outputs are made of as many as have 12 pixels, which
// wait for each other's steps instead of their own.
template <int kPixels, typename Body>
ACCQ_INLINE inline void ForEachTile(const ConvBlock& block, const ConvTile& tiles,
                                    const OutputRange& range, const Body& body) {
  constexpr int kMostPixels = 6, kTogether = 12 / kPixels;
  const Outputs outputs(block, range);
  const int8_t* operands[kMostPixels];
  alignas(16) int32_t sums[kTogether * kPixels][4][4];
  ConvTile tile = tiles;
  for (int32_t left = tiles.count; left > 0;) {
    const int32_t count = left < kTogether ? 1 : kTogether;
    for (int32_t t = 0; t < count; ++t, tile.pixels += kPixels) {
      FindOperands(tile, kPixels, operands);
      body(operands, sums + t * kPixels);
    }
    if (count == kTogether) {
      outputs.Store<kTogether * kPixels>(sums, tile.out, tile.out_stride);
    } else {
      outputs.Store<kPixels>(sums, tile.out, tile.out_stride);
    }
    tile.out += count * kPixels * tile.out_stride;
    left -= count;
  }
}

template <int kPixels>
void LongTile(const ConvBlock& block, const ConvTile& tiles, const OutputRange& range) {
  ForEachTile<kPixels>(block, tiles, range, [&](auto& operands, auto* sums) ACCQ_INLINE {
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
  ForEachTile<kPixels>(block, tiles, range, [&](auto& operands, auto* sums) ACCQ_INLINE {
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
