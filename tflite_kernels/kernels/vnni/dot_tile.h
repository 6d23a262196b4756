// The inner loops of the VNNI kernels, written once for registers of 256 and of 512 bits: a tile of
// output pixels by a block of channels, four products at a time added to int32 sums.
//
// Only for files compiled for the instructions. Isa, in an unnamed namespace, offers:
//   Sums                     int32 sums of a group's 16 channels: Zero(), Load(from),
//                            AddDots(operands, weights), Add(other)
//   Broadcast(from)          four bytes of a pixel, for all channels
//   Outputs                  made of an OutputRange; (sums, multipliers) gives 16 outputs
//   kMostGroups, kMostPixels of a tile
// The products are written as assembly: from the intrinsic, whose sums are an operand and its
// result another, gcc 12 makes copies of all sums, for which there are no registers.
#ifndef ACCQ_KERNELS_VNNI_DOT_TILE_H_
#define ACCQ_KERNELS_VNNI_DOT_TILE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/conv_layout.h"
#include "kernels/conv_loops.h"
#include "kernels/inline.h"
#include "kernels/x86/store_outputs.h"
#include "kernels/x86/unrolled.h"

namespace accq {

template <typename Isa>
class DotTiles {
 public:
  static ConvTileFunction Find(TileKind, int pixels, int channels) {
    if constexpr (Isa::kMostGroups > 1) {
      if (channels > kBlockChannels) return kTiles<2>[pixels - 1];
    }
    return kTiles<1>[pixels - 1];
  }
  static int Pixels(TileKind) { return Isa::kMostPixels; }

 private:
  using Sums = typename Isa::Sums;

  template <int kGroups>
  struct Pixel {
    const uint8_t* operands;
    Unrolled<Sums, kGroups> sums;
  };

  template <int kGroups, int kPixels>
  ACCQ_INLINE static void AddStep(const Group* step, int32_t offset,
                                  Unrolled<Pixel<kGroups>, kPixels>& pixels) {
    ForEach(pixels, [&](int, Pixel<kGroups>& pixel) ACCQ_INLINE {
      const auto operands = Isa::Broadcast(pixel.operands + offset);
      ForEach(pixel.sums,
              [&](int g, Sums& sums) ACCQ_INLINE { sums.AddDots(operands, step[g].weights); });
    });
  }

  // Few sums would wait for each other: then there are several sets, for every kSets-th step each.
  template <int kGroups, int kPixels>
  static constexpr int kSets = kGroups * kPixels >= 6   ? 1
                               : kGroups * kPixels >= 3 ? 2
                                                        : 4;

  template <int kGroups, int kPixels>
  static void Run(const ConvBlock& block, const ConvTile& tile, const OutputRange& range) {
    using Tile = Unrolled<Pixel<kGroups>, kPixels>;
    constexpr int kSteps = kSets<kGroups, kPixels>;
    Unrolled<Tile, kSteps> sets;
    ForEach(sets, [&](int set, Tile& pixels) ACCQ_INLINE {
      ForEach(pixels, [&](int i, Pixel<kGroups>& pixel) ACCQ_INLINE {
        pixel.operands = tile.operands + tile.pixels[i];
        ForEach(pixel.sums, [&](int g, Sums& sums) ACCQ_INLINE {
          sums = set == 0 ? Sums::Load(block.bias + g * kBlockChannels) : Sums::Zero();
        });
      });
    });
    const Group* step = block.steps;
    const int32_t* offset = block.offsets;
    size_t left = block.num_steps;
    for (; left >= kSteps; left -= kSteps, step += kSteps * kGroups, offset += kSteps) {
      ForEach(sets, [&](int set, Tile& pixels) ACCQ_INLINE {
        AddStep<kGroups>(step + set * kGroups, offset[set], pixels);
      });
    }
    Tile& pixels = sets.first;
    if constexpr (kSteps > 1) {
      for (; left > 0; --left, step += kGroups, ++offset) AddStep<kGroups>(step, *offset, pixels);
      ForEach(sets.rest, [&](int, Tile& others) ACCQ_INLINE {
        ForEachPair(pixels, others, [](Pixel<kGroups>& to, Pixel<kGroups>& from) ACCQ_INLINE {
          ForEachPair(to.sums, from.sums,
                      [](Sums& sum, Sums& other) ACCQ_INLINE { sum.Add(other); });
        });
      });
    }

    const typename Isa::Outputs outputs(range);
    ForEach(pixels, [&](int i, Pixel<kGroups>& pixel) ACCQ_INLINE {
      ForEach(pixel.sums, [&](int g, Sums& sums) ACCQ_INLINE {
        const int first = g * kBlockChannels;
        StoreOutputs(outputs(sums, block.multiplier + first), block.channels - first,
                     tile.out + i * tile.out_stride + first);
      });
    });
  }

  template <int kGroups, size_t... i>
  static constexpr std::array<ConvTileFunction, sizeof...(i)> TilesOf(std::index_sequence<i...>) {
    return {Run<kGroups, static_cast<int>(i) + 1>...};
  }

  template <int kGroups>
  static constexpr auto kTiles = TilesOf<kGroups>(std::make_index_sequence<Isa::kMostPixels>());
};

}  // namespace accq

#endif  // ACCQ_KERNELS_VNNI_DOT_TILE_H_
