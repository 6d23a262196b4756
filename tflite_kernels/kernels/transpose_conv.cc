#include "kernels/transpose_conv.h"

#include <algorithm>
#include <new>

#include "kernels/buffer.h"
#include "kernels/create.h"
#include "kernels/packed_conv.h"
#include "kernels/phases.h"
#include "kernels/requantize.h"
#include "kernels/share.h"
#include "kernels/strip.h"

namespace accq {
namespace {

class TransposeConvOp : public PackedOp {
 public:
  bool Init(const OpSpec& spec, const ConvLoops& loops) {
    spec_ = spec;
    kernel_ = loops.kernel;
    phases_h_ = CountPhases(spec.filter_h, spec.stride_h);
    phases_w_ = CountPhases(spec.filter_w, spec.stride_w);
    phases_.reset(new (std::nothrow) PackedConv[static_cast<size_t>(phases_h_) * phases_w_]);
    if (phases_ == nullptr || !without_taps_.Allocate(spec.out_channels)) return false;
    for (int32_t h = 0; h < phases_h_; ++h) {
      for (int32_t w = 0; w < phases_w_; ++w) {
        Buffer<int8_t> weights;
        OpSpec phase;
        if (!PhaseSpec(spec, h, w, &weights, &phase) || !Phase(h, w).Init(phase, loops)) {
          return false;
        }
      }
    }
    for (int32_t c = 0; c < spec.out_channels; ++c) {
      without_taps_[c] = Requantize(static_cast<int32_t>(Bias(spec, c)), spec.multiplier[c], spec);
    }
    spec_.weights = nullptr;  // the caller's; packed now
    spec_.bias = nullptr;
    return true;
  }

  size_t ScratchBytes(const Shape4& input) const override {
    size_t most = 0;
    const bool planned = ForEachPhase(
        input, [&](const PackedConv& phase, const PhaseAxis&, const PhaseAxis&,
                   const StripPlan& plan) { most = std::max(most, phase.ScratchBytes(plan)); });
    return planned ? most : SIZE_MAX;
  }

  void RunPart(const Shape4& input, const int8_t* in, int8_t* out, void* scratch, int part,
               int parts) const override {
    if (spec_.filter_h < spec_.stride_h || spec_.filter_w < spec_.stride_w) {
      Fill(input, out, ShareOf(int64_t{input.n} * spec_.out_h, part, parts));
    }
    const ptrdiff_t pixel = spec_.out_channels;
    const ptrdiff_t row = pixel * spec_.out_w;
    ForEachPhase(input, [&](const PackedConv& phase, const PhaseAxis& y, const PhaseAxis& x,
                            const StripPlan& plan) {
      const OutputGrid grid = {out + y.first_out * row + x.first_out * pixel,
                               pixel * spec_.stride_w, row * spec_.stride_h, row * spec_.out_h};
      phase.Run(plan, in, grid, scratch, part, parts);
    });
  }

  OpReport Report() const override {
    OpReport report;
    report.kernel = kernel_;
    for (int64_t i = 0; i < int64_t{phases_h_} * phases_w_; ++i) phases_[i].AddTo(&report);
    return report;
  }

 private:
  PackedConv& Phase(int64_t h, int64_t w) const { return phases_[h * phases_w_ + w]; }

  // Calls body(phase, its height, its width, its plan) for each phase that has outputs; false when
  // sizes overflow.
  template <typename Body>
  bool ForEachPhase(const Shape4& input, const Body& body) const {
    TransposedAxis y, x;
    std::string error;
    if (!TransposedAxes(spec_, input, &y, &x, &error)) return false;  // OutputShape said so
    for (int32_t h = 0; h < phases_h_; ++h) {
      const PhaseAxis phase_y = PhaseAxisOf(y, h);
      for (int32_t w = 0; w < phases_w_; ++w) {
        const PhaseAxis phase_x = PhaseAxisOf(x, w);
        if (phase_y.out == 0 || phase_x.out == 0) continue;
        const PackedConv& phase = Phase(h, w);
        StripPlan plan;
        if (!PlanStrips(phase.spec(), input, StripAxisOf(phase_y, phase.spec().filter_h),
                        StripAxisOf(phase_x, phase.spec().filter_w), 1, &plan)) {
          return false;
        }
        body(phase, phase_y, phase_x, plan);
      }
    }
    return true;
  }

  static StripAxis StripAxisOf(const PhaseAxis& axis, int32_t taps) {
    return {axis.out, axis.pad_before, axis.out - 1 + taps, 1, 1};
  }

  // Writes the outputs of phases without taps in those rows, and no other: another thread may be
  // writing them.
  void Fill(const Shape4& input, int8_t* out, const Share& rows) const {
    TransposedAxis y, x;
    std::string error;
    if (!TransposedAxes(spec_, input, &y, &x, &error)) return;  // OutputShape said so
    out += rows.first * spec_.out_w * spec_.out_channels;
    for (int64_t row = rows.first; row < rows.last; ++row) {
      const bool whole_row = (row % y.out + y.cut) % y.stride >= phases_h_;
      for (int64_t column = 0; column < x.out; ++column, out += spec_.out_channels) {
        if (whole_row || (column + x.cut) % x.stride >= phases_w_) {
          std::copy_n(without_taps_.data(), spec_.out_channels, out);
        }
      }
    }
  }

  OpSpec spec_;
  const char* kernel_ = nullptr;
  std::unique_ptr<PackedConv[]> phases_;
  int32_t phases_h_ = 0, phases_w_ = 0;
  Buffer<int8_t> without_taps_;  // what an output is that has no products
};

}  // namespace

std::unique_ptr<PackedOp> CreateTransposeConv(const OpSpec& spec, const ConvLoops& loops,
                                              std::string* error) {
  return CreateOp<TransposeConvOp>(spec, error, loops);
}

}  // namespace accq
