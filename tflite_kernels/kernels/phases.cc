#include "kernels/phases.h"

#include <algorithm>

#include "kernels/geometry.h"

namespace accq {
namespace {

bool TransposedAxisOf(int32_t size, int32_t filter, int32_t stride, int32_t out, bool same_padding,
                      TransposedAxis* axis, std::string* error) {
  const int64_t before_last = (int64_t{size} - 1) * stride;
  const int64_t least = before_last + (same_padding ? 1 : filter);
  if (out < least || out - least >= stride) {
    *error = "an output size of " + std::to_string(out) + " does not suit " + std::to_string(size) +
             " inputs, a filter of " + std::to_string(filter) + ", stride " +
             std::to_string(stride) + " and " + (same_padding ? "SAME" : "VALID") + " padding";
    return false;
  }
  const int64_t cut = same_padding ? std::max<int64_t>(0, before_last + filter - out) / 2 : 0;
  *axis = TransposedAxis{size, filter, stride, out, cut};
  return true;
}

}  // namespace

bool TransposedAxes(const OpSpec& spec, const Shape4& input, TransposedAxis* y, TransposedAxis* x,
                    std::string* error) {
  if (!TransposedAxisOf(input.h, spec.filter_h, spec.stride_h, spec.out_h, spec.same_padding, y,
                        error)) {
    *error = "height: " + *error;
    return false;
  }
  if (!TransposedAxisOf(input.w, spec.filter_w, spec.stride_w, spec.out_w, spec.same_padding, x,
                        error)) {
    *error = "width: " + *error;
    return false;
  }
  return true;
}

PhaseAxis PhaseAxisOf(const TransposedAxis& axis, int32_t phase) {
  // The first place of the phase, counted before the cut, that is an output.
  const int64_t windows_before =
      axis.cut <= phase ? 0 : (axis.cut - phase + axis.stride - 1) / axis.stride;
  PhaseAxis result;
  result.first_out = windows_before * axis.stride + phase - axis.cut;
  result.out =
      result.first_out >= axis.out ? 0 : (axis.out - 1 - result.first_out) / axis.stride + 1;
  result.pad_before = (axis.filter - 1 - phase) / axis.stride - windows_before;
  return result;
}

bool PhaseSpec(const OpSpec& spec, int32_t phase_h, int32_t phase_w, Buffer<int8_t>* weights,
               OpSpec* phase) {
  *phase = spec;
  phase->kind = OpKind::kConv2D;
  phase->filter_h = TapsOfPhase(spec.filter_h, spec.stride_h, phase_h);
  phase->filter_w = TapsOfPhase(spec.filter_w, spec.stride_w, phase_w);
  phase->stride_h = phase->stride_w = 1;
  phase->same_padding = false;
  const size_t products = static_cast<size_t>(ProductsPerOutput(*phase));
  if (!weights->Allocate(products * spec.out_channels)) return false;
  int8_t* to = weights->data();
  for (int64_t channel = 0; channel < spec.out_channels; ++channel) {
    for (int64_t h = phase->filter_h - 1; h >= 0; --h) {
      for (int64_t w = phase->filter_w - 1; w >= 0; --w) {
        const int64_t tap =
            (phase_h + h * spec.stride_h) * spec.filter_w + phase_w + w * spec.stride_w;
        to = std::copy_n(spec.weights + WeightIndex(spec, channel, tap * spec.in_channels),
                         spec.in_channels, to);
      }
    }
  }
  phase->weights = weights->data();
  return true;
}

}  // namespace accq
