#include "kernels/portable/int32_tile.h"

#include <iterator>

#include "kernels/inline.h"
#include "kernels/portable/outputs.h"

namespace accq {
namespace {

constexpr int kChannels = kK16N4Pairs.channels;
constexpr int kBytes = kK16N4Pairs.bytes;

// Each operand meets four weights and, with two pixels, each weight two operands, in registers.
template <int kPixels>
void Tile(const ConvBlock& block, const ConvTile& tile, const OutputRange& range) {
  const auto* first = reinterpret_cast<const int8_t*>(tile.operands) + tile.pixels[0];
  const auto* second = reinterpret_cast<const int8_t*>(tile.operands) + tile.pixels[kPixels - 1];
  // Unsigned, since only the whole sum is known to fit.
  uint32_t x0 = block.bias[0], x1 = block.bias[1], x2 = block.bias[2], x3 = block.bias[3];
  uint32_t y0 = x0, y1 = x1, y2 = x2, y3 = x3;
  for (size_t s = 0; s < block.num_steps; ++s) {
    const int8_t* w = block.steps[s].weights;
    const int8_t* x = first + block.offsets[s];
    const int8_t* y = second + block.offsets[s];
    for (int i = 0; i < kBytes; ++i) {
      const int16_t w0 = w[i], w1 = w[kBytes + i], w2 = w[2 * kBytes + i], w3 = w[3 * kBytes + i];
      const int16_t u = x[i];
      x0 += u * w0;
      x1 += u * w1;
      x2 += u * w2;
      x3 += u * w3;
      if constexpr (kPixels > 1) {
        const int16_t v = y[i];
        y0 += v * w0;
        y1 += v * w1;
        y2 += v * w2;
        y3 += v * w3;
      }
    }
  }
  const auto whole = [](uint32_t sum) { return static_cast<int32_t>(sum); };
  const int32_t sums[2][kChannels] = {{whole(x0), whole(x1), whole(x2), whole(x3)},
                                      {whole(y0), whole(y1), whole(y2), whole(y3)}};
  for (int i = 0; i < kPixels; ++i) {
    WriteBlock<kChannels>(sums[i], block.multiplier, range, block.channels,
                          tile.out + i * tile.out_stride);
  }
}

constexpr ConvTileFunction kTiles[] = {Tile<1>, Tile<2>};

}  // namespace

int Int32TilePixels(TileKind) { return std::size(kTiles); }

ConvTileFunction FindInt32Tile(TileKind, int pixels, int) { return kTiles[pixels - 1]; }

}  // namespace accq
