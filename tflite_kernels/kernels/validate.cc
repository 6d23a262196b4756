#include <cmath>
#include <cstdint>
#include <string>

#include "kernels/geometry.h"
#include "kernels/op.h"
#include "kernels/phases.h"
#include "kernels/requantize.h"

namespace accq {
namespace {

bool Fail(std::string* error, const std::string& text) {
  *error = text;
  return false;
}

bool InRange(const char* name, int64_t value, int64_t low, int64_t high, std::string* error) {
  if (value >= low && value <= high) return true;
  return Fail(error, std::string(name) + ": expected " + std::to_string(low) + " to " +
                         std::to_string(high) + ", came " + std::to_string(value));
}

bool Int8Range(const char* min_name, int32_t min, const char* max_name, int32_t max,
               std::string* error) {
  return InRange(min_name, min, -128, 127, error) && InRange(max_name, max, -128, 127, error) &&
         (min <= max || Fail(error, std::string(min_name) + " " + std::to_string(min) +
                                        " exceeds " + max_name + " " + std::to_string(max)));
}

bool CheckGeometry(const OpSpec& spec, std::string* error) {
  struct {
    const char* name;
    int32_t value;
  } const positive[] = {
      {"filter_h", spec.filter_h},       {"filter_w", spec.filter_w},
      {"in_channels", spec.in_channels}, {"out_channels", spec.out_channels},
      {"groups", spec.groups},           {"depth_multiplier", spec.depth_multiplier},
      {"stride_h", spec.stride_h},       {"stride_w", spec.stride_w},
      {"dilation_h", spec.dilation_h},   {"dilation_w", spec.dilation_w},
  };
  for (const auto& field : positive) {
    if (!InRange(field.name, field.value, 1, INT32_MAX, error)) return false;
  }
  switch (spec.kind) {
    case OpKind::kConv2D:
      if (spec.in_channels % spec.groups != 0 || spec.out_channels % spec.groups != 0) {
        return Fail(error, "groups: expected a divisor of in_channels " +
                               std::to_string(spec.in_channels) + " and out_channels " +
                               std::to_string(spec.out_channels) + ", came " +
                               std::to_string(spec.groups));
      }
      break;
    case OpKind::kDepthwiseConv2D:
      if (int64_t{spec.in_channels} * spec.depth_multiplier != spec.out_channels) {
        return Fail(error, "depth_multiplier: expected out_channels " +
                               std::to_string(spec.out_channels) + " / in_channels " +
                               std::to_string(spec.in_channels) + ", came " +
                               std::to_string(spec.depth_multiplier));
      }
      break;
    case OpKind::kFullyConnected:
      if (spec.filter_h != 1 || spec.filter_w != 1 || spec.stride_h != 1 || spec.stride_w != 1 ||
          spec.dilation_h != 1 || spec.dilation_w != 1 || spec.groups != 1 || spec.same_padding) {
        return Fail(error,
                    "a fully connected layer has filter, stride, dilation and groups of 1 and no "
                    "padding");
      }
      break;
    case OpKind::kTransposeConv:
      if (spec.dilation_h != 1 || spec.dilation_w != 1 || spec.groups != 1) {
        return Fail(error, "a transposed convolution has dilation and groups of 1");
      }
      if (!InRange("out_h", spec.out_h, 1, INT32_MAX, error) ||
          !InRange("out_w", spec.out_w, 1, INT32_MAX, error)) {
        return false;
      }
      if (spec.same_padding && (spec.filter_h < spec.stride_h || spec.filter_w < spec.stride_w)) {
        return Fail(error,
                    "filter: stock LiteRT rounds otherwise where SAME padding meets a filter " +
                        std::to_string(spec.filter_h) + " x " + std::to_string(spec.filter_w) +
                        " smaller than its stride " + std::to_string(spec.stride_h) + " x " +
                        std::to_string(spec.stride_w));
      }
      break;
  }
  // int32 step offsets and int64 sums of products rely on these two.
  const int64_t window_h = (int64_t{spec.filter_h} - 1) * spec.dilation_h + 1;
  const int64_t window_w = (int64_t{spec.filter_w} - 1) * spec.dilation_w + 1;
  if (!InRange("dilated filter height", window_h, 1, INT32_MAX, error) ||
      !InRange("dilated filter width", window_w, 1, INT32_MAX, error)) {
    return false;
  }
  const int64_t depth = spec.kind == OpKind::kDepthwiseConv2D ? 1 : spec.in_channels / spec.groups;
  size_t weights = spec.out_channels;
  if (!MultiplySizes(weights, spec.filter_h, &weights) ||
      !MultiplySizes(weights, spec.filter_w, &weights) ||
      !MultiplySizes(weights, depth, &weights) || ProductsPerOutput(spec) > INT32_MAX) {
    return Fail(error, "the weights do not fit the address space");
  }
  return true;
}

bool CheckRanges(const OpSpec& spec, std::string* error) {
  if (!Int8Range("in_min", spec.in_min, "in_max", spec.in_max, error) ||
      !Int8Range("out_min", spec.out_min, "out_max", spec.out_max, error) ||
      !InRange("input zero point", spec.in_zero, -128, 127, error) ||
      !InRange("output zero point", spec.out_zero, -128, 127, error)) {
    return false;
  }
  const bool pads = spec.same_padding || spec.kind == OpKind::kTransposeConv;
  if (pads && (spec.in_zero < spec.in_min || spec.in_zero > spec.in_max)) {
    return Fail(
        error,
        "input zero point: SAME padding and transposed convolution add it, so it must lie in "
        "the operand range " +
            std::to_string(spec.in_min) + " to " + std::to_string(spec.in_max) + ", came " +
            std::to_string(spec.in_zero));
  }
  return true;
}

bool CheckMultiplier(const OpSpec& spec, int64_t channel, std::string* error) {
  const float m = spec.multiplier[channel];
  if (std::isfinite(m) && m > 0.0f && m < 256.0f) return true;
  return Fail(error, "output channel " + std::to_string(channel) +
                         ": expected a multiplier in (0, 256), came " + std::to_string(m) +
                         "; check the scales of input, weights and output");
}

bool CheckSums(const OpSpec& spec, int64_t channel, std::string* error) {
  const std::string where = "output channel " + std::to_string(channel) + ": ";
  int64_t least = 0, greatest = 0;  // of the sum of x' * q
  for (int64_t k = 0; k < ProductsPerOutput(spec); ++k) {
    const int64_t q = spec.weights[WeightIndex(spec, channel, k)];
    least += q * (q > 0 ? spec.in_min : spec.in_max);
    greatest += q * (q > 0 ? spec.in_max : spec.in_min);
  }
  const int64_t bias = EffectiveBias(spec, channel);
  return InRange((where + "bias - in_zero * sum(weights)").c_str(), bias, INT32_MIN, INT32_MAX,
                 error) &&
         InRange((where + "least accumulator").c_str(), bias + least, INT32_MIN, INT32_MAX,
                 error) &&
         InRange((where + "greatest accumulator").c_str(), bias + greatest, INT32_MIN, INT32_MAX,
                 error);
}

bool CheckAllSums(const OpSpec& spec, std::string* error) {
  for (int64_t channel = 0; channel < spec.out_channels; ++channel) {
    if (!CheckSums(spec, channel, error)) return false;
  }
  return true;
}

// What a transposed convolution sums for an output is what the output's phase does.
bool CheckSumsOfPhases(const OpSpec& spec, std::string* error) {
  for (int32_t h = 0; h < CountPhases(spec.filter_h, spec.stride_h); ++h) {
    for (int32_t w = 0; w < CountPhases(spec.filter_w, spec.stride_w); ++w) {
      Buffer<int8_t> weights;
      OpSpec phase;
      if (!PhaseSpec(spec, h, w, &weights, &phase)) return Fail(error, "no memory");
      if (!CheckAllSums(phase, error)) {
        return Fail(error, "phase " + std::to_string(h) + ", " + std::to_string(w) + ": " + *error);
      }
    }
  }
  return true;
}

}  // namespace

bool ValidateSpec(const OpSpec& spec, std::string* error) {
  if (!CheckGeometry(spec, error) || !CheckRanges(spec, error)) return false;
  if (spec.weights == nullptr) return Fail(error, "the layer has no weights");
  if (spec.multiplier.size() != static_cast<size_t>(spec.out_channels)) {
    return Fail(error, "expected " + std::to_string(spec.out_channels) +
                           " multipliers, one per output channel, came " +
                           std::to_string(spec.multiplier.size()));
  }
  for (int64_t channel = 0; channel < spec.out_channels; ++channel) {
    if (!CheckMultiplier(spec, channel, error)) return false;
  }
  return spec.kind == OpKind::kTransposeConv ? CheckSumsOfPhases(spec, error)
                                             : CheckAllSums(spec, error);
}

}  // namespace accq
