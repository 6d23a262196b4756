// Convolution weights packed for a layout (conv_layout.h), and the loops over strips,
// pixels and channel blocks around the inner ones of an instruction set (conv_loops.h).
#ifndef ACCQ_KERNELS_PACKED_CONV_H_
#define ACCQ_KERNELS_PACKED_CONV_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/conv_loops.h"
#include "kernels/op.h"
#include "kernels/share.h"
#include "kernels/strip.h"

namespace accq {

// Where outputs go: bytes from one to its neighbour.
struct OutputGrid {
  int8_t* first;
  ptrdiff_t pixel, row, image;
};

class PackedConv {
 public:
  PackedConv();
  ~PackedConv();

  // Copies what it needs of the spec and keeps `loops`; false when memory runs out.
  [[nodiscard]] bool Init(const OpSpec& spec, const ConvLoops& loops);

  // Without weights and bias, which are packed.
  const OpSpec& spec() const { return spec_; }

  // Bytes of scratch that Run needs; SIZE_MAX when it would overflow.
  size_t ScratchBytes(const StripPlan& plan) const;
  // Part `part` of `parts`, as PackedOp::RunPart.
  void Run(const StripPlan& plan, const int8_t* in, const OutputGrid& out, void* scratch, int part,
           int parts) const;

  // Adds to the figures of `report`.
  void AddTo(OpReport* report) const;

 private:
  struct Block;

  size_t Planes() const {
    return (any_shifted_ ? 1 : 0) + (any_signed_ ? 1 : 0) + (any_stored_ ? 1 : 0);
  }
  size_t OffsetBytes() const {
    return spec_.filter_h == 1 ? 0 : (num_steps_ + 1) * sizeof(int32_t);
  }
  void FillOffsets(const StripPlan& plan, int32_t* offsets) const;
  void RunStrip(const StripPlan& plan, const StripPlanes& planes, const int32_t* offsets,
                int64_t out_rows, const Share& blocks, const OutputGrid& grid, int8_t* out) const;

  OpSpec spec_;
  const ConvLoops* loops_ = nullptr;
  std::unique_ptr<Block[]> blocks_;
  size_t num_blocks_ = 0, num_steps_ = 0;
  // Whose operands blocks want: x' - in_min; |x'|; x'.
  bool any_shifted_ = false, any_signed_ = false, any_stored_ = false;
};

}  // namespace accq

#endif  // ACCQ_KERNELS_PACKED_CONV_H_
