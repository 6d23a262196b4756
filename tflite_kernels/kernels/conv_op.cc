#include "kernels/conv_op.h"

#include "kernels/create.h"
#include "kernels/geometry.h"
#include "kernels/packed_conv.h"
#include "kernels/strip.h"
#include "kernels/transpose_conv.h"

namespace accq {
namespace {

class ConvOp : public PackedOp {
 public:
  bool Init(const OpSpec& spec, const ConvLoops& loops) {
    kernel_ = loops.kernel;
    return conv_.Init(spec, loops);
  }

  size_t ScratchBytes(const Shape4& input) const override {
    StripPlan plan;
    return Plan(input, &plan) ? conv_.ScratchBytes(plan) : SIZE_MAX;
  }

  void RunPart(const Shape4& input, const int8_t* in, int8_t* out, void* scratch, int part,
               int parts) const override {
    StripPlan plan;
    if (!Plan(input, &plan)) return;  // ScratchBytes said so
    const ptrdiff_t pixel = conv_.spec().out_channels;
    const auto row = static_cast<ptrdiff_t>(plan.x.out * pixel);
    const auto image = static_cast<ptrdiff_t>(plan.y.out * row);
    conv_.Run(plan, in, OutputGrid{out, pixel, row, image}, scratch, part, parts);
  }

  OpReport Report() const override {
    OpReport report;
    report.kernel = kernel_;
    conv_.AddTo(&report);
    return report;
  }

 private:
  bool Plan(const Shape4& input, StripPlan* plan) const {
    return PlanStrips(conv_.spec(), FlattenedPixels(conv_.spec(), input), 1, plan);
  }

  const char* kernel_ = nullptr;
  PackedConv conv_;
};

}  // namespace

std::unique_ptr<PackedOp> CreateConv(const OpSpec& spec, const ConvLoops& loops,
                                     std::string* error) {
  return spec.kind == OpKind::kTransposeConv ? CreateTransposeConv(spec, loops, error)
                                             : CreateOp<ConvOp>(spec, error, loops);
}

}  // namespace accq
