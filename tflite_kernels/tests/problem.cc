#include "tests/problem.h"

#include <algorithm>
#include <cmath>

#include "kernels/buffer.h"
#include "kernels/geometry.h"
#include "kernels/phases.h"
#include "kernels/requantize.h"
#include "tests/die.h"

namespace accq {
namespace {

int8_t RoundToInt8(double v) {
  return static_cast<int8_t>(std::clamp(std::lround(v), -128L, 127L));
}

// The weights of one channel.
std::vector<int8_t> MakeWeights(Weights kind, int64_t count, int64_t budget, std::mt19937& random) {
  std::normal_distribution<double> normal;
  std::uniform_int_distribution<int> any(-128, 127), four_bits(-7, 7);
  std::vector<int8_t> q(count);
  switch (kind) {
    case Weights::kNormal:
    case Weights::kConstrained: {
      std::vector<double> w(count);
      double greatest = 0, total = 0;
      for (double& v : w) {
        v = normal(random);
        greatest = std::max(greatest, std::abs(v));
        total += std::abs(v);
      }
      const bool fill = kind == Weights::kConstrained;
      const double scale = fill ? budget / total : 127 / greatest;
      int64_t left = budget;
      for (int64_t k = 0; k < count; ++k) {
        q[k] = RoundToInt8(fill ? std::trunc(w[k] * scale) : w[k] * scale);
        left -= std::abs(q[k]);
      }
      for (int64_t k = 0; fill && k < count && left > 0; ++k) {  // spend what truncation saved
        const auto more = static_cast<int>(std::min<int64_t>(left, 127 - std::abs(q[k])));
        if (more <= 0) continue;
        q[k] = static_cast<int8_t>(w[k] < 0 ? q[k] - more : q[k] + more);
        left -= more;
      }
      break;
    }
    case Weights::kUniform:
      for (int8_t& v : q) v = static_cast<int8_t>(any(random));
      break;
    case Weights::kAll127:
      std::fill(q.begin(), q.end(), int8_t{127});
      break;
    case Weights::kAllMinus128:
      std::fill(q.begin(), q.end(), int8_t{-128});
      break;
    case Weights::kAlternating:
      for (int64_t k = 0; k < count; ++k) q[k] = k % 2 == 0 ? 127 : -128;
      break;
    case Weights::kSparse:
      for (int8_t& v : q) v = static_cast<int8_t>(any(random) % 8 == 0 ? any(random) : 0);
      break;
    case Weights::kFourBits:
    case Weights::kAll7:
      for (int8_t& v : q) {
        v = static_cast<int8_t>(kind == Weights::kAll7 ? 7 : four_bits(random));
        budget -= std::abs(v);
        if (budget < 0) v = 0;
      }
      break;
  }
  return q;
}

}  // namespace

const std::vector<Weights>& AllWeights() {
  static const std::vector<Weights> all = {
      Weights::kNormal,      Weights::kUniform,     Weights::kAll127,
      Weights::kAllMinus128, Weights::kAlternating, Weights::kConstrained,
      Weights::kSparse,      Weights::kFourBits,    Weights::kAll7,
  };
  return all;
}

const char* NameOf(Weights kind) {
  switch (kind) {
    case Weights::kNormal:
      return "normal";
    case Weights::kUniform:
      return "uniform";
    case Weights::kAll127:
      return "all 127";
    case Weights::kAllMinus128:
      return "all -128";
    case Weights::kAlternating:
      return "alternating";
    case Weights::kConstrained:
      return "constrained";
    case Weights::kSparse:
      return "sparse";
    case Weights::kFourBits:
      return "4 bits";
    case Weights::kAll7:
      return "all 7";
  }
  return "";
}

Problem::Problem(const Layer& layer, Weights kind, const OperandRange& range, uint32_t seed)
    : input(layer.input) {
  std::mt19937 random(seed);
  spec.kind = layer.kind;
  spec.filter_h = layer.filter_h;
  spec.filter_w = layer.filter_w;
  spec.in_channels = layer.input.c;
  spec.out_channels = layer.out_channels;
  spec.groups = layer.groups;
  if (layer.kind == OpKind::kDepthwiseConv2D) {
    spec.depth_multiplier = layer.out_channels / layer.input.c;
  }
  spec.stride_h = layer.stride_h;
  spec.stride_w = layer.stride_w;
  spec.dilation_h = layer.dilation_h;
  spec.dilation_w = layer.dilation_w;
  spec.same_padding = layer.same_padding;
  if (layer.kind == OpKind::kTransposeConv) {
    // TFLite's size * stride; with VALID padding what reaches over is part of the output.
    const auto size = [&](int32_t wanted, int32_t in, int32_t stride, int32_t filter) {
      return wanted > 0           ? wanted
             : layer.same_padding ? in * stride
                                  : in * stride + std::max(filter - stride, 0);
    };
    spec.out_h = size(layer.out_h, input.h, spec.stride_h, spec.filter_h);
    spec.out_w = size(layer.out_w, input.w, spec.stride_w, spec.filter_w);
  }
  spec.in_zero = range.zero;
  spec.in_min = range.min;
  spec.in_max = range.max;
  spec.out_zero = std::uniform_int_distribution<int>(-20, 20)(random);
  spec.out_min = -120;
  spec.out_max = 119;
  const int64_t k = ProductsPerOutput(spec);
  weights.resize(k * spec.out_channels);
  bias.resize(spec.out_channels);
  spec.multiplier.resize(spec.out_channels);
  spec.weights = weights.data();
  spec.bias = bias.data();
  const int64_t budget = 32767 / std::max({1, std::max(range.max, 0), -std::min(range.min, 0)});
  for (int32_t c = 0; c < spec.out_channels; ++c) {
    const std::vector<int8_t> q = MakeWeights(kind, k, budget, random);
    double squares = 1;
    for (int64_t i = 0; i < k; ++i) {
      weights[WeightIndex(spec, c, i)] = q[i];
      squares += q[i] * q[i];
    }
    // A power of two (many sums then lie half-way between two outputs) or any number, such that
    // outputs spread over their range. The bias moves the mean of the inputs to zero.
    const double spread = std::sqrt(squares) * std::max(1, range.max - range.min) / 3;
    const double exponent = std::min(std::log2(64 / spread), 7.0);
    spec.multiplier[c] =
        static_cast<float>(std::exp2(c % 2 == 0 ? std::round(exponent) : exponent));
    const int64_t middle = (range.max + range.min) / 2 - range.zero;
    bias[c] = static_cast<int32_t>(-middle * SumOfWeights(spec, c)) +
              std::uniform_int_distribution<int>(-99, 99)(random);
  }
  Shape4 output;
  std::string error;
  if (!ValidateSpec(spec, &error) || !OutputShape(spec, input, &output, &error)) {
    Die(std::string(layer.name) + ": " + error);
  }
  // Every output of a convolution, but every input of a transposed one, meets all taps.
  const Shape4& pixels = spec.kind == OpKind::kTransposeConv ? input : output;
  macs = int64_t{pixels.n} * pixels.h * pixels.w * spec.out_channels * k;
}

namespace {

// As MakeInput for the phase of one tap: its taps repeat over the image, flipped.
std::vector<int8_t> MakeTransposedInput(const Problem& problem, Inputs kind, uint32_t seed) {
  const OpSpec& spec = problem.spec;
  const Shape4& shape = problem.input;
  const int64_t target = seed % spec.out_channels;
  const int32_t phase_h = seed / 7 % CountPhases(spec.filter_h, spec.stride_h);
  const int32_t phase_w = seed / 11 % CountPhases(spec.filter_w, spec.stride_w);
  Buffer<int8_t> weights;
  OpSpec phase;
  if (!PhaseSpec(spec, phase_h, phase_w, &weights, &phase)) Die("no memory");
  std::vector<int8_t> values;
  for (int64_t i = 0; i < int64_t{shape.n} * shape.h * shape.w; ++i) {
    const int64_t kh = i / shape.w % shape.h % phase.filter_h, kw = i % shape.w % phase.filter_w;
    for (int64_t ic = 0; ic < shape.c; ++ic) {
      const int64_t tap = (kh * phase.filter_w + kw) * shape.c + ic;
      const bool high =
          (weights[WeightIndex(phase, target, tap)] > 0) == (kind == Inputs::kLargest);
      values.push_back(static_cast<int8_t>(high ? spec.in_max : spec.in_min));
    }
  }
  return values;
}

}  // namespace

std::vector<int8_t> MakeInput(const Problem& problem, Inputs kind, uint32_t seed) {
  std::mt19937 random(seed);
  const OpSpec& spec = problem.spec;
  const Shape4& shape = problem.input;
  std::vector<int8_t> values(size_t{1} * shape.n * shape.h * shape.w * shape.c);
  if (kind == Inputs::kRandom) {
    for (int8_t& v : values) v = static_cast<int8_t>(random());
    return values;
  }
  if (spec.kind == OpKind::kTransposeConv) return MakeTransposedInput(problem, kind, random());
  // Filter taps repeat over the image, so that every window at a multiple of the filter's size
  // meets its own.
  const Axis y = AxisOf(shape.h, spec.filter_h, spec.stride_h, spec.dilation_h, spec.same_padding);
  const Axis x = AxisOf(shape.w, spec.filter_w, spec.stride_w, spec.dilation_w, spec.same_padding);
  const int64_t target = random() % spec.out_channels;
  const bool depthwise = spec.kind == OpKind::kDepthwiseConv2D;
  const int64_t depth = depthwise ? 1 : spec.in_channels / spec.groups;
  size_t i = 0;
  for (int64_t n = 0; n < shape.n; ++n) {
    for (int64_t iy = 0; iy < shape.h; ++iy) {
      for (int64_t ix = 0; ix < shape.w; ++ix) {
        for (int64_t ic = 0; ic < shape.c; ++ic, ++i) {
          const int64_t kh = (iy + y.pad_before) / spec.dilation_h % spec.filter_h;
          const int64_t kw = (ix + x.pad_before) / spec.dilation_w % spec.filter_w;
          const int64_t channel = depthwise ? ic * spec.depth_multiplier : target;
          const int64_t tap = (kh * spec.filter_w + kw) * depth + ic % depth;
          const int8_t q = spec.weights[WeightIndex(spec, channel, tap)];
          const bool high = (q > 0) == (kind == Inputs::kLargest);
          values[i] = static_cast<int8_t>(high ? spec.in_max : spec.in_min);
        }
      }
    }
  }
  return values;
}

}  // namespace accq
