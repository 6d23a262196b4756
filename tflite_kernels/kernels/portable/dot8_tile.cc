#include "kernels/portable/dot8_tile.h"

#include <cstring>
#include <iterator>

#include "kernels/inline.h"
#include "kernels/portable/outputs.h"

namespace accq {
namespace {

using Int16x8 = int16_t __attribute__((vector_size(16)));
using Uint16x8 = uint16_t __attribute__((vector_size(16)));
using Int32x4 = int32_t __attribute__((vector_size(16)));
using Uint32x4 = uint32_t __attribute__((vector_size(16)));

constexpr int kChannels = kK16N4Pairs.channels;
constexpr int kBytes = kK16N4Pairs.bytes;
static_assert(kBytes == sizeof(Int16x8) && kK16N4Pairs.distance == 1);

// Of one pixel; named, since gcc keeps arrays of vectors in memory.
struct Sums16 {
  Int16x8 a, b, c, d;
};

// Of one pixel, 4 parts for each channel.
struct Sums32 {
  Int32x4 channels[kChannels];
};

// 16 bytes, as the halves of 8 lanes.
ACCQ_INLINE inline Int16x8 Load(const int8_t* from) {
  Int16x8 pairs;
  std::memcpy(&pairs, from, sizeof(pairs));
  return pairs;
}

// One byte of each pair, widened. Shifts need no instruction that only some CPUs have, and which
// byte is the high one does not matter, as it is the same in operands and weights.
ACCQ_INLINE inline Int16x8 High(Int16x8 pairs) { return pairs >> 8; }
ACCQ_INLINE inline Int16x8 Low(Int16x8 pairs) {
  return reinterpret_cast<Int16x8>(reinterpret_cast<Uint16x8>(pairs) << 8) >> 8;
}

ACCQ_INLINE inline void AddProducts(Int16x8 x, Int16x8 a, Int16x8 b, Int16x8 c, Int16x8 d,
                                    Sums16* sums) {
  sums->a += x * a;
  sums->b += x * b;
  sums->c += x * c;
  sums->d += x * d;
}

ACCQ_INLINE inline void AddWidened(Int16x8 from, Int32x4* to) {
  const auto pairs = reinterpret_cast<Int32x4>(from);
  *to += (pairs >> 16) + (reinterpret_cast<Int32x4>(reinterpret_cast<Uint32x4>(from) << 16) >> 16);
}

ACCQ_INLINE inline void Spill(const Sums16& from, Sums32* to) {
  AddWidened(from.a, &to->channels[0]);
  AddWidened(from.b, &to->channels[1]);
  AddWidened(from.c, &to->channels[2]);
  AddWidened(from.d, &to->channels[3]);
}

template <int kPixels>
void Tile(const ConvBlock& block, const ConvTile& tile, const OutputRange& range) {
  const auto* first = reinterpret_cast<const int8_t*>(tile.operands) + tile.pixels[0];
  const auto* second = reinterpret_cast<const int8_t*>(tile.operands) + tile.pixels[kPixels - 1];
  Sums32 sums[kPixels] = {};
  const Group* step = block.steps;
  const int32_t* offset = block.offsets;
  for (size_t kind = 0; kind < block.segment_kinds; ++kind) {
    const auto [length, count] = block.segments[kind];
    for (int32_t segment = 0; segment < count; ++segment) {
      Sums16 x = {}, y = {};
      for (int32_t s = 0; s < length; ++s, ++step, ++offset) {
        const Int16x8 a = Load(step->weights), b = Load(step->weights + kBytes),
                      c = Load(step->weights + 2 * kBytes), d = Load(step->weights + 3 * kBytes);
        const Int16x8 u = Load(first + *offset);
        AddProducts(High(u), High(a), High(b), High(c), High(d), &x);
        AddProducts(Low(u), Low(a), Low(b), Low(c), Low(d), &x);
        if constexpr (kPixels > 1) {
          const Int16x8 v = Load(second + *offset);
          AddProducts(High(v), High(a), High(b), High(c), High(d), &y);
          AddProducts(Low(v), Low(a), Low(b), Low(c), Low(d), &y);
        }
      }
      Spill(x, &sums[0]);
      if constexpr (kPixels > 1) Spill(y, &sums[1]);
    }
  }
  for (int i = 0; i < kPixels; ++i) {
    int32_t each[kChannels];
    for (int c = 0; c < kChannels; ++c) {
      // Unsigned, since only the whole sum is known to fit.
      const auto parts = reinterpret_cast<const Uint32x4&>(sums[i].channels[c]);
      each[c] = static_cast<int32_t>(block.bias[c] + parts[0] + parts[1] + parts[2] + parts[3]);
    }
    WriteBlock<kChannels>(each, block.multiplier, range, block.channels,
                          tile.out + i * tile.out_stride);
  }
}

constexpr ConvTileFunction kTiles[] = {Tile<1>, Tile<2>};

}  // namespace

int PortableDot8TilePixels(TileKind) { return std::size(kTiles); }

ConvTileFunction FindPortableDot8Tile(TileKind, int pixels, int) { return kTiles[pixels - 1]; }

}  // namespace accq
