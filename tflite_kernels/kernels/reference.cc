#include "kernels/reference.h"

#include <algorithm>

#include "kernels/buffer.h"
#include "kernels/create.h"
#include "kernels/geometry.h"
#include "kernels/phases.h"
#include "kernels/requantize.h"
#include "kernels/share.h"

namespace accq {
namespace {

class ReferenceOp : public PackedOp {
 public:
  bool Init(const OpSpec& spec) {
    spec_ = spec;
    const size_t count = static_cast<size_t>(ProductsPerOutput(spec)) * spec.out_channels;
    if (!weights_.Allocate(count) || !bias_.Allocate(spec.out_channels)) return false;
    std::copy(spec.weights, spec.weights + count, weights_.data());
    for (int32_t c = 0; c < spec.out_channels; ++c) {
      bias_[c] = static_cast<int32_t>(transposed() ? Bias(spec, c) : EffectiveBias(spec, c));
    }
    spec_.weights = weights_.data();
    spec_.bias = nullptr;  // bias_ holds it
    return true;
  }

  size_t ScratchBytes(const Shape4&) const override { return 0; }

  void RunPart(const Shape4& input, const int8_t* in, int8_t* out, void*, int part,
               int parts) const override {
    if (transposed()) return RunTransposed(input, in, out, part, parts);
    const Axis y =
        AxisOf(input.h, spec_.filter_h, spec_.stride_h, spec_.dilation_h, spec_.same_padding);
    const Axis x =
        AxisOf(input.w, spec_.filter_w, spec_.stride_w, spec_.dilation_w, spec_.same_padding);
    const Share rows = ShareOf(input.n * y.out, part, parts);
    out += rows.first * x.out * spec_.out_channels;
    for (int64_t row = rows.first; row < rows.last; ++row) {
      const int64_t n = row / y.out, top = row % y.out * spec_.stride_h - y.pad_before;
      for (int64_t ox = 0; ox < x.out; ++ox) {
        const int64_t left = ox * spec_.stride_w - x.pad_before;
        for (int32_t channel = 0; channel < spec_.out_channels; ++channel) {
          *out++ = Output(Accumulate(input, in, n, top, left, channel), channel);
        }
      }
    }
  }

  OpReport Report() const override {
    OpReport report;
    report.kernel = kReference.name;
    report.packed_bytes = weights_.bytes() + bias_.bytes();
    return report;
  }

 private:
  bool transposed() const { return spec_.kind == OpKind::kTransposeConv; }

  int8_t Output(int64_t sum, int32_t channel) const {
    return Requantize(static_cast<int32_t>(sum + bias_[channel]), spec_.multiplier[channel], spec_);
  }

  void RunTransposed(const Shape4& input, const int8_t* in, int8_t* out, int part,
                     int parts) const {
    TransposedAxis y, x;
    std::string error;
    if (!TransposedAxes(spec_, input, &y, &x, &error)) return;  // OutputShape said so
    const Share rows = ShareOf(input.n * y.out, part, parts);
    out += rows.first * x.out * spec_.out_channels;
    for (int64_t row = rows.first; row < rows.last; ++row) {
      const int8_t* image = in + row / y.out * input.h * input.w * input.c;
      for (int64_t ox = 0; ox < x.out; ++ox) {
        for (int32_t channel = 0; channel < spec_.out_channels; ++channel) {
          *out++ = Output(AccumulateTransposed(image, y, x, row % y.out, ox, channel), channel);
        }
      }
    }
  }

  // The sum of (x' - in_zero) * q over the taps of an output's phase: those of missing inputs add
  // nothing, and in_zero * sum(q) is taken off at once, as the sum differs from phase to phase.
  int64_t AccumulateTransposed(const int8_t* image, const TransposedAxis& y,
                               const TransposedAxis& x, int64_t oy, int64_t ox,
                               int32_t channel) const {
    int64_t sum = 0, k = 0;
    for (int64_t kh = 0; kh < y.filter; ++kh) {
      for (int64_t kw = 0; kw < x.filter; ++kw, k += spec_.in_channels) {
        const int64_t down = oy + y.cut - kh, right = ox + x.cut - kw;
        if (down < 0 || down % y.stride != 0 || down / y.stride >= y.size) continue;
        if (right < 0 || right % x.stride != 0 || right / x.stride >= x.size) continue;
        const int8_t* pixel =
            image + (down / y.stride * x.size + right / x.stride) * spec_.in_channels;
        for (int64_t i = 0; i < spec_.in_channels; ++i) {
          const int64_t value = ClampInput(pixel[i], spec_) - spec_.in_zero;
          sum += value * weights_[WeightIndex(spec_, channel, k + i)];
        }
      }
    }
    return sum;
  }

  // The sum of x' * q over the window whose first element is (top, left).
  int64_t Accumulate(const Shape4& input, const int8_t* in, int64_t n, int64_t top, int64_t left,
                     int32_t channel) const {
    const bool depthwise = spec_.kind == OpKind::kDepthwiseConv2D;
    const int64_t depth = depthwise ? 1 : spec_.in_channels / spec_.groups;
    const int64_t first = depthwise ? channel / spec_.depth_multiplier
                                    : channel / (spec_.out_channels / spec_.groups) * depth;
    int64_t sum = 0, k = 0;
    for (int64_t kh = 0; kh < spec_.filter_h; ++kh) {
      for (int64_t kw = 0; kw < spec_.filter_w; ++kw) {
        const int64_t iy = top + kh * spec_.dilation_h, ix = left + kw * spec_.dilation_w;
        const bool inside = iy >= 0 && iy < input.h && ix >= 0 && ix < input.w;
        for (int64_t i = 0; i < depth; ++i, ++k) {
          const int32_t value = inside
                                    ? in[((n * input.h + iy) * input.w + ix) * input.c + first + i]
                                    : spec_.in_zero;
          sum += ClampInput(value, spec_) * weights_[WeightIndex(spec_, channel, k)];
        }
      }
    }
    return sum;
  }

  OpSpec spec_;
  Buffer<int8_t> weights_;
  Buffer<int32_t> bias_;
};

}  // namespace

const Kernel kReference = {
    "reference",
    [] { return true; },
    [](const OpSpec&) { return true; },
    CreateOp<ReferenceOp>,
};

}  // namespace accq
