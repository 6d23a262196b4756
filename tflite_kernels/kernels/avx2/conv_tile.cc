#include "kernels/avx2/conv_tile.h"

#include <immintrin.h>

#include <cstring>

#include "kernels/avx2/requantize.h"
#include "kernels/conv_layout.h"
#include "kernels/inline.h"
#include "kernels/x86/store_outputs.h"
#include "kernels/x86/unrolled.h"

namespace accq {
namespace {

// One pixel's sums, 8 channels in each vector, and its first operand.
struct Pixel {
  const uint8_t* operands;
  __m256i a, b;
};

template <int kPixels>
using Pixels = Unrolled<Pixel, kPixels>;

// Left alone, gcc 12 gives the sums of the next turn of a loop other registers than those of this
// one, runs out of them and keeps sums in memory. An empty statement that reads and writes both
// stops it.
ACCQ_INLINE inline void KeepInRegisters(Pixel& pixel) {
  asm volatile("" : "+x"(pixel.a), "+x"(pixel.b));
}

// Likewise it would load the operands of all pixels before their products, for which there are no
// registers where the sums need twelve.
ACCQ_INLINE inline void KeepLoadsHere() { asm volatile("" : : : "memory"); }

ACCQ_INLINE inline __m256i Load(const void* from) {
  return _mm256_load_si256(static_cast<const __m256i*>(from));
}

ACCQ_INLINE inline __m256i Broadcast4(const uint8_t* bytes) {
  int32_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return _mm256_set1_epi32(word);
}

// Four bytes of a pixel.
template <Form kForm>
class Operand {
 public:
  ACCQ_INLINE Operand(const uint8_t* bytes, ptrdiff_t value_plane) : bytes_(Broadcast4(bytes)) {
    if (kForm == Form::kSigned) values_ = Broadcast4(bytes + value_plane);
  }

  // x0 * w0 + x1 * w1 in each int16 lane.
  ACCQ_INLINE __m256i Times(__m256i weights) const {
    if (kForm == Form::kSigned) weights = _mm256_sign_epi8(weights, values_);
    return _mm256_maddubs_epi16(bytes_, weights);
  }

 private:
  __m256i bytes_, values_;
};

// Adds the two int16 lanes of each channel to its int32 sum.
ACCQ_INLINE inline __m256i AddWidened(__m256i sums, __m256i int16_sums) {
  return _mm256_add_epi32(sums, _mm256_madd_epi16(int16_sums, _mm256_set1_epi16(1)));
}

// Writes the outputs of one pixel from its int32 sums. kBoth: the block has more than 8 channels.
template <bool kBoth>
ACCQ_INLINE inline void Store(const ConvBlock& block, const Requantizer& requantize,
                              const Pixel& pixel, int8_t* out) {
  const __m256i a = requantize(pixel.a, _mm256_load_ps(block.multiplier));
  const __m256i b = kBoth ? requantize(pixel.b, _mm256_load_ps(block.multiplier + 8)) : a;
  StoreOutputs(PackOutputs(a, b), block.channels, out);
}

// `count` segments of one length, which unrolls where it is a constant.
template <Form kForm, bool kBoth, int kPixels>
ACCQ_INLINE inline void AddSegments(int32_t count, int32_t length, ptrdiff_t value_plane,
                                    const Group*& steps, const int32_t*& offsets,
                                    Pixels<kPixels>& pixels) {
  for (; count > 0; --count, steps += length, offsets += length) {
    ForEach(pixels, [&](int, Pixel& pixel) ACCQ_INLINE {
      const Operand<kForm> first(pixel.operands + offsets[0], value_plane);
      __m256i a = first.Times(Load(steps[0].weights)), b = a;
      if (kBoth) b = first.Times(Load(steps[0].weights + 32));
#pragma GCC unroll 4
      for (int32_t s = 1; s < length; ++s) {
        const Operand<kForm> next(pixel.operands + offsets[s], value_plane);
        a = _mm256_add_epi16(a, next.Times(Load(steps[s].weights)));
        if (kBoth) b = _mm256_add_epi16(b, next.Times(Load(steps[s].weights + 32)));
      }
      pixel.a = AddWidened(pixel.a, a);
      if (kBoth) pixel.b = AddWidened(pixel.b, b);
      KeepInRegisters(pixel);
    });
  }
}

template <Form kForm, bool kBoth, int kPixels>
void ShortTile(const ConvBlock& block, const ConvTile& tile, const OutputRange& range) {
  Pixels<kPixels> pixels;
  ForEach(pixels, [&](int i, Pixel& pixel) ACCQ_INLINE {
    pixel = {tile.operands + tile.pixels[i], Load(block.bias), Load(block.bias + 8)};
  });
  const Group* steps = block.steps;
  const int32_t* offsets = block.offsets;
  const ptrdiff_t plane = tile.value_plane;
  for (size_t s = 0; s < block.segment_kinds; ++s) {
    const auto [length, count] = block.segments[s];
    switch (length) {
      case 1:
        AddSegments<kForm, kBoth>(count, 1, plane, steps, offsets, pixels);
        break;
      case 2:
        AddSegments<kForm, kBoth>(count, 2, plane, steps, offsets, pixels);
        break;
      case 3:
        AddSegments<kForm, kBoth>(count, 3, plane, steps, offsets, pixels);
        break;
      case 4:
        AddSegments<kForm, kBoth>(count, 4, plane, steps, offsets, pixels);
        break;
      default:
        AddSegments<kForm, kBoth>(count, length, plane, steps, offsets, pixels);
        break;
    }
  }
  const Requantizer requantize(range);
  ForEach(pixels, [&](int i, Pixel& pixel) ACCQ_INLINE {
    Store<kBoth>(block, requantize, pixel, tile.out + i * tile.out_stride);
  });
}

template <bool kBoth, int kPixels>
void LongTile(const ConvBlock& block, const ConvTile& tile, const OutputRange& range) {
  alignas(32) int32_t sums[kPixels][kBlockChannels];
  for (auto& pixel_sums : sums) std::memcpy(pixel_sums, block.bias, sizeof(pixel_sums));
  const Group* steps = block.steps;
  const int32_t* offsets = block.offsets;
  Pixels<kPixels> pixels;
  ForEach(pixels, [&](int i, Pixel& pixel)
                      ACCQ_INLINE { pixel.operands = tile.operands + tile.pixels[i]; });
  for (size_t s = 0; s < block.segment_kinds; ++s) {
    const auto [length, count] = block.segments[s];
    for (int32_t n = 0; n < count; ++n) {
      ForEach(pixels,
              [](int, Pixel& pixel) ACCQ_INLINE { pixel.a = pixel.b = _mm256_setzero_si256(); });
      const Group* const end = steps + length;
      do {
        const __m256i weights_a = Load(steps->weights);
        const __m256i weights_b = kBoth ? Load(steps->weights + 32) : weights_a;
        const ptrdiff_t offset = *offsets;
        ForEach(pixels, [&](int, Pixel& pixel) ACCQ_INLINE {
          const Operand<Form::kShifted> operand(pixel.operands + offset, 0);
          pixel.a = _mm256_add_epi16(pixel.a, operand.Times(weights_a));
          if (kBoth) pixel.b = _mm256_add_epi16(pixel.b, operand.Times(weights_b));
          KeepInRegisters(pixel);
          KeepLoadsHere();
        });
        ++offsets;
      } while (++steps != end);
      ForEach(pixels, [&](int i, Pixel& pixel) ACCQ_INLINE {
        auto* to = reinterpret_cast<__m256i*>(sums[i]);
        _mm256_store_si256(to, AddWidened(Load(to), pixel.a));
        if (kBoth) _mm256_store_si256(to + 1, AddWidened(Load(to + 1), pixel.b));
      });
    }
  }
  const Requantizer requantize(range);
  ForEach(pixels, [&](int i, Pixel& pixel) ACCQ_INLINE {
    pixel.a = Load(sums[i]);
    pixel.b = Load(sums[i] + 8);
    Store<kBoth>(block, requantize, pixel, tile.out + i * tile.out_stride);
  });
}

template <Form kForm, bool kBoth>
constexpr ConvTileFunction kShortTiles[] = {
    ShortTile<kForm, kBoth, 1>,
    ShortTile<kForm, kBoth, 2>,
    ShortTile<kForm, kBoth, 3>,
    ShortTile<kForm, kBoth, 4>,
};

template <bool kBoth>
constexpr ConvTileFunction kLongTiles[] = {
    LongTile<kBoth, 1>, LongTile<kBoth, 2>, LongTile<kBoth, 3>,
    LongTile<kBoth, 4>, LongTile<kBoth, 5>, LongTile<kBoth, 6>,
};

}  // namespace

int Avx2TilePixels(TileKind kind) { return kind == TileKind::kLongShifted ? 6 : 4; }

ConvTileFunction FindAvx2Tile(TileKind kind, int pixels, int channels) {
  const bool both = channels > 8;
  const int i = pixels - 1;
  switch (kind) {
    case TileKind::kShortShifted:
      return both ? kShortTiles<Form::kShifted, true>[i] : kShortTiles<Form::kShifted, false>[i];
    case TileKind::kShortSigned:
      return both ? kShortTiles<Form::kSigned, true>[i] : kShortTiles<Form::kSigned, false>[i];
    case TileKind::kLongShifted:
      return both ? kLongTiles<true>[i] : kLongTiles<false>[i];
    case TileKind::kDot:
      break;
  }
  return nullptr;
}

}  // namespace accq
