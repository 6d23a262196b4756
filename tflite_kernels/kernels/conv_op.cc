#include "kernels/conv_op.h"

#include "kernels/avx2/cpu.h"
#include "kernels/create.h"
#include "kernels/geometry.h"
#include "kernels/packed_conv.h"
#include "kernels/strip.h"
#include "kernels/transpose_conv.h"

namespace accq {
namespace {

class ConvOp : public PackedOp {
 public:
  bool Init(const OpSpec& spec) { return conv_.Init(spec); }

  size_t ScratchBytes(const Shape4& input) const override {
    StripPlan plan;
    return Plan(input, &plan) ? conv_.ScratchBytes(plan) : SIZE_MAX;
  }

  void RunPart(const Shape4& input, const int8_t* in, int8_t* out, void* scratch, int part,
               int parts) const override {
    StripPlan plan;
    if (!Plan(input, &plan)) return;  // ScratchBytes said so
    const ptrdiff_t pixel = conv_.spec().out_channels;
    const ptrdiff_t row = plan.x.out * pixel;
    conv_.Run(plan, in, OutputGrid{out, pixel, row, plan.y.out * row}, scratch, part, parts);
  }

  OpReport Report() const override {
    OpReport report;
    report.kernel = kAvx2K4N16.name;
    conv_.AddTo(&report);
    return report;
  }

 private:
  bool Plan(const Shape4& input, StripPlan* plan) const {
    return PlanStrips(conv_.spec(), FlattenedPixels(conv_.spec(), input), 1, plan);
  }

  PackedConv conv_;
};

}  // namespace

const Kernel kAvx2K4N16 = {
    "avx2_k4n16",
    CpuHasAvx2,
    [](const OpSpec& spec) { return spec.kind != OpKind::kDepthwiseConv2D; },
    [](const OpSpec& spec, std::string* error) {
      return spec.kind == OpKind::kTransposeConv ? CreateTransposeConv(spec, error)
                                                 : CreateOp<ConvOp>(spec, error);
    },
    [](const OpSpec&) { return !CpuHasByteDotProducts(); },
};

}  // namespace accq
