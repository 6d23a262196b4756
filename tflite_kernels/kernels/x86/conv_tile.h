// The inner loops of the kernels with int16 sums, written once for registers of 128 and 256 bits: a
// tile of output pixels by a block of 16 output channels.
//
// Only for files compiled for the instructions. Isa, in an unnamed namespace, offers:
//   Vector { v }, kVectors    how many vectors hold the int32 sums of 16 channels, or their 32
//   lanes kShortPixels, kLongPixels   of a tile Load(from), Store(vector, to), Zero()
//   Broadcast4(from)         four bytes of a pixel, for all channels
//   MultiplyPairs(u, w)      u0 * w0 + u1 * w1 in each int16 lane
//   Signed(w, x)             w, or -w or 0 after the sign of x
//   Add16(a, b), AddWidened(sums, lanes)   the latter adds pairs of int16 lanes to int32 sums
//   Outputs                  made of an OutputRange; (sums, multipliers) gives 16 outputs
#ifndef ACCQ_KERNELS_X86_CONV_TILE_H_
#define ACCQ_KERNELS_X86_CONV_TILE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/conv_layout.h"
#include "kernels/conv_loops.h"
#include "kernels/inline.h"
#include "kernels/x86/store_outputs.h"
#include "kernels/x86/unrolled.h"

namespace accq {

template <typename Isa>
class ConvTiles {
 public:
  static int Pixels(TileKind kind) {
    return kind == TileKind::kLongShifted ? Isa::kLongPixels : Isa::kShortPixels;
  }

  static ConvTileFunction Find(TileKind kind, int pixels, int channels) {
    return channels > kBlockChannels / 2 ? FindOf<Isa::kVectors>(kind, pixels - 1)
                                         : FindOf<Isa::kVectors / 2>(kind, pixels - 1);
  }

 private:
  using Vector = typename Isa::Vector;
  static constexpr int kVectorBytes = sizeof(Vector);

  // kCount: vectors of a pixel.
  template <int kCount>
  using Vectors = Unrolled<Vector, kCount>;

  // A pixel's sums and its first operand.
  template <int kCount>
  struct Pixel {
    const uint8_t* operands;
    Vectors<kCount> sums;
  };

  template <int kCount>
  ACCQ_INLINE static void LoadSums(const int32_t* from, Vectors<kCount>& sums) {
    ForEach(sums, [&](int v, Vector& sum)
                      ACCQ_INLINE { sum = Isa::Load(from + v * (kVectorBytes / 4)); });
  }

  // Left alone, gcc 12 gives the sums of the next turn of a loop other registers than those of this
  // one, runs out of them and keeps sums in memory. An empty statement that reads and writes them
  // stops it.
  template <int kCount>
  ACCQ_INLINE static void KeepInRegisters(Vectors<kCount>& sums) {
    ForEach(sums, [](int, Vector& sum) ACCQ_INLINE { asm("" : "+x"(sum.v)); });
  }

  // Likewise it would load the operands of all pixels before their products, for which there are
  // no registers where the sums need twelve.
  ACCQ_INLINE static void KeepLoadsHere() { asm volatile("" : : : "memory"); }

  ACCQ_INLINE static Vector Weights(const Group& step, int v) {
    return Isa::Load(step.weights + v * kVectorBytes);
  }

  // Four bytes of a pixel.
  template <Form kForm>
  class Operand {
   public:
    ACCQ_INLINE Operand(const uint8_t* bytes, ptrdiff_t value_plane)
        : bytes_(Isa::Broadcast4(bytes)) {
      if (kForm == Form::kSigned) values_ = Isa::Broadcast4(bytes + value_plane);
    }

    // The products with some weights of a step, summed in pairs.
    ACCQ_INLINE Vector Times(Vector weights) const {
      if (kForm == Form::kSigned) weights = Isa::Signed(weights, values_);
      return Isa::MultiplyPairs(bytes_, weights);
    }

   private:
    Vector bytes_, values_;
  };

  // `count` segments of one length, which unrolls where it is a constant.
  template <Form kForm, int kCount, int kPixels>
  ACCQ_INLINE static void AddSegments(int32_t count, int32_t length, ptrdiff_t value_plane,
                                      const Group*& steps, const int32_t*& offsets,
                                      Unrolled<Pixel<kCount>, kPixels>& pixels) {
    for (; count > 0; --count, steps += length, offsets += length) {
      ForEach(pixels, [&](int, Pixel<kCount>& pixel) ACCQ_INLINE {
        Vectors<kCount> lanes;
        const Operand<kForm> first(pixel.operands + offsets[0], value_plane);
        ForEach(lanes,
                [&](int v, Vector& lane) ACCQ_INLINE { lane = first.Times(Weights(steps[0], v)); });
#pragma GCC unroll 4
        for (int32_t s = 1; s < length; ++s) {
          const Operand<kForm> next(pixel.operands + offsets[s], value_plane);
          ForEach(lanes, [&](int v, Vector& lane) ACCQ_INLINE {
            lane = Isa::Add16(lane, next.Times(Weights(steps[s], v)));
          });
        }
        ForEachPair(pixel.sums, lanes, [](Vector& sum, Vector& lane) ACCQ_INLINE {
          sum = Isa::AddWidened(sum, lane);
        });
        KeepInRegisters(pixel.sums);
      });
    }
  }

  template <Form kForm, int kCount, int kPixels>
  static void Short(const ConvBlock& block, const ConvTile& tile, const OutputRange& range) {
    Unrolled<Pixel<kCount>, kPixels> pixels;
    ForEach(pixels, [&](int i, Pixel<kCount>& pixel) ACCQ_INLINE {
      pixel.operands = tile.operands + tile.pixels[i];
      LoadSums(block.bias, pixel.sums);
    });
    const Group* steps = block.steps;
    const int32_t* offsets = block.offsets;
    const ptrdiff_t plane = tile.value_plane;
    for (size_t s = 0; s < block.segment_kinds; ++s) {
      const auto [length, count] = block.segments[s];
      switch (length) {
        case 1:
          AddSegments<kForm>(count, 1, plane, steps, offsets, pixels);
          break;
        case 2:
          AddSegments<kForm>(count, 2, plane, steps, offsets, pixels);
          break;
        case 3:
          AddSegments<kForm>(count, 3, plane, steps, offsets, pixels);
          break;
        case 4:
          AddSegments<kForm>(count, 4, plane, steps, offsets, pixels);
          break;
        default:
          AddSegments<kForm>(count, length, plane, steps, offsets, pixels);
          break;
      }
    }
    const typename Isa::Outputs outputs(range);
    ForEach(pixels, [&](int i, Pixel<kCount>& pixel) ACCQ_INLINE {
      StoreOutputs(outputs(pixel.sums, block.multiplier), block.channels,
                   tile.out + i * tile.out_stride);
    });
  }

  template <int kCount, int kPixels>
  static void Long(const ConvBlock& block, const ConvTile& tile, const OutputRange& range) {
    alignas(kVectorBytes) int32_t sums[kPixels][kBlockChannels];
    for (auto& pixel_sums : sums) std::memcpy(pixel_sums, block.bias, sizeof(pixel_sums));
    const Group* steps = block.steps;
    const int32_t* offsets = block.offsets;
    Unrolled<Pixel<kCount>, kPixels> pixels;
    ForEach(pixels, [&](int i, Pixel<kCount>& pixel)
                        ACCQ_INLINE { pixel.operands = tile.operands + tile.pixels[i]; });
    for (size_t s = 0; s < block.segment_kinds; ++s) {
      const auto [length, count] = block.segments[s];
      for (int32_t n = 0; n < count; ++n) {
        ForEach(pixels, [](int, Pixel<kCount>& pixel) ACCQ_INLINE {
          ForEach(pixel.sums, [](int, Vector& lane) ACCQ_INLINE { lane = Isa::Zero(); });
        });
        const Group* const end = steps + length;
        do {
          Vectors<kCount> weights;
          ForEach(weights, [&](int v, Vector& vector) ACCQ_INLINE { vector = Weights(*steps, v); });
          const ptrdiff_t offset = *offsets;
          ForEach(pixels, [&](int, Pixel<kCount>& pixel) ACCQ_INLINE {
            const Operand<Form::kShifted> operand(pixel.operands + offset, 0);
            ForEachPair(pixel.sums, weights, [&](Vector& lane, Vector& vector) ACCQ_INLINE {
              lane = Isa::Add16(lane, operand.Times(vector));
            });
            KeepInRegisters(pixel.sums);
            KeepLoadsHere();
          });
          ++offsets;
        } while (++steps != end);
        ForEach(pixels, [&](int i, Pixel<kCount>& pixel) ACCQ_INLINE {
          Vectors<kCount> wide;
          LoadSums(sums[i], wide);
          ForEachPair(wide, pixel.sums, [](Vector& sum, Vector& lane) ACCQ_INLINE {
            sum = Isa::AddWidened(sum, lane);
          });
          ForEach(wide, [&](int v, Vector& sum)
                            ACCQ_INLINE { Isa::Store(sum, sums[i] + v * (kVectorBytes / 4)); });
        });
      }
    }
    const typename Isa::Outputs outputs(range);
    ForEach(pixels, [&](int i, Pixel<kCount>& pixel) ACCQ_INLINE {
      LoadSums(sums[i], pixel.sums);
      StoreOutputs(outputs(pixel.sums, block.multiplier), block.channels,
                   tile.out + i * tile.out_stride);
    });
  }

  template <int kCount>
  static ConvTileFunction FindOf(TileKind kind, int i) {
    switch (kind) {
      case TileKind::kShortShifted:
        return kShort<Form::kShifted, kCount>[i];
      case TileKind::kShortSigned:
        return kShort<Form::kSigned, kCount>[i];
      case TileKind::kLongShifted:
        return kLong<kCount>[i];
      case TileKind::kDot:
        break;
    }
    return nullptr;
  }

  template <Form kForm, int kCount, size_t... i>
  static constexpr std::array<ConvTileFunction, sizeof...(i)> ShortOf(std::index_sequence<i...>) {
    return {Short<kForm, kCount, static_cast<int>(i) + 1>...};
  }
  template <int kCount, size_t... i>
  static constexpr std::array<ConvTileFunction, sizeof...(i)> LongOf(std::index_sequence<i...>) {
    return {Long<kCount, static_cast<int>(i) + 1>...};
  }

  template <Form kForm, int kCount>
  static constexpr auto kShort =
      ShortOf<kForm, kCount>(std::make_index_sequence<Isa::kShortPixels>());
  template <int kCount>
  static constexpr auto kLong = LongOf<kCount>(std::make_index_sequence<Isa::kLongPixels>());
};

}  // namespace accq

#endif  // ACCQ_KERNELS_X86_CONV_TILE_H_
