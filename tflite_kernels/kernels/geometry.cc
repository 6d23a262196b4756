#include "kernels/geometry.h"

#include <algorithm>

#include "kernels/phases.h"

namespace accq {
namespace {

bool Fail(std::string* error, const std::string& text) {
  *error = text;
  return false;
}

bool ElementsFit(const Shape4& shape) {
  size_t elements = 1;
  return MultiplySizes(elements, shape.n, &elements) &&
         MultiplySizes(elements, shape.h, &elements) &&
         MultiplySizes(elements, shape.w, &elements) && MultiplySizes(elements, shape.c, &elements);
}

}  // namespace

Axis AxisOf(int32_t size, int32_t filter, int32_t stride, int32_t dilation, bool same_padding) {
  const int64_t window = (int64_t{filter} - 1) * dilation + 1;
  Axis axis;
  if (same_padding) {
    axis.out = (int64_t{size} + stride - 1) / stride;
    axis.extent = (axis.out - 1) * stride + window;
    axis.pad_before = std::max<int64_t>(0, axis.extent - size) / 2;
  } else {
    // Not (size - window) / stride + 1: C++ rounds a negative quotient up, and a window that does
    // not fit would get one output.
    axis.out = size < window ? 0 : (size - window) / stride + 1;
    axis.extent = (axis.out - 1) * stride + window;
    axis.pad_before = 0;
  }
  return axis;
}

Shape4 FlattenedPixels(const OpSpec& spec, const Shape4& input) {
  const bool single_pixels =
      spec.filter_h == 1 && spec.filter_w == 1 && spec.stride_h == 1 && spec.stride_w == 1;
  const int64_t pixels = int64_t{input.h} * input.w;
  if (!single_pixels || pixels > INT32_MAX / input.n) return input;
  return Shape4{1, static_cast<int32_t>(pixels * input.n), 1, input.c};
}

int64_t ProductsPerOutput(const OpSpec& spec) {
  const int64_t channels =
      spec.kind == OpKind::kDepthwiseConv2D ? 1 : int64_t{spec.in_channels} / spec.groups;
  return int64_t{spec.filter_h} * spec.filter_w * channels;
}

size_t WeightIndex(const OpSpec& spec, int64_t channel, int64_t k) {
  return spec.kind == OpKind::kDepthwiseConv2D ? k * spec.out_channels + channel
                                               : channel * ProductsPerOutput(spec) + k;
}

bool MultiplySizes(uint64_t a, uint64_t b, size_t* product) {
  return !__builtin_mul_overflow(a, b, product) && *product <= PTRDIFF_MAX;
}

bool OutputShape(const OpSpec& spec, const Shape4& input, Shape4* output, std::string* error) {
  if (input.n < 1 || input.h < 1 || input.w < 1 || input.c < 1 || !ElementsFit(input)) {
    return Fail(error, "expected an input of positive sizes that fits the address space, came [" +
                           std::to_string(input.n) + ", " + std::to_string(input.h) + ", " +
                           std::to_string(input.w) + ", " + std::to_string(input.c) + "]");
  }
  if (input.c != spec.in_channels) {
    return Fail(error, "expected an input of " + std::to_string(spec.in_channels) +
                           " channels, as the weights have, came " + std::to_string(input.c));
  }
  if (spec.kind == OpKind::kFullyConnected && (input.h != 1 || input.w != 1)) {
    return Fail(error, "expected rows of one pixel for a fully connected layer, came " +
                           std::to_string(input.h) + " x " + std::to_string(input.w));
  }
  if (spec.kind == OpKind::kTransposeConv) {
    TransposedAxis y, x;
    if (!TransposedAxes(spec, input, &y, &x, error)) return false;
    *output = Shape4{input.n, spec.out_h, spec.out_w, spec.out_channels};
    return ElementsFit(*output) || Fail(error, "the output does not fit the address space");
  }
  const Axis y = AxisOf(input.h, spec.filter_h, spec.stride_h, spec.dilation_h, spec.same_padding);
  const Axis x = AxisOf(input.w, spec.filter_w, spec.stride_w, spec.dilation_w, spec.same_padding);
  if (y.out < 1 || x.out < 1) {
    return Fail(error, "the input of " + std::to_string(input.h) + " x " + std::to_string(input.w) +
                           " is smaller than the " + std::to_string(spec.filter_h) + " x " +
                           std::to_string(spec.filter_w) + " filter (dilation " +
                           std::to_string(spec.dilation_h) + " x " +
                           std::to_string(spec.dilation_w) + ") without padding");
  }
  // Neither exceeds the input's size, so both fit int32.
  *output =
      Shape4{input.n, static_cast<int32_t>(y.out), static_cast<int32_t>(x.out), spec.out_channels};
  if (!ElementsFit(*output)) return Fail(error, "the output does not fit the address space");
  return true;
}

}  // namespace accq
