// A node of ours in a fake runtime, valid unless a test changes a part of it first.
#ifndef ACCQ_TESTS_DELEGATE_MODEL_BUILDER_H_
#define ACCQ_TESTS_DELEGATE_MODEL_BUILDER_H_

#include <cstring>
#include <string>
#include <vector>

#include "tests/delegate/fake_runtime.h"
#include "tests/delegate/flex_writer.h"

namespace accq {

inline std::vector<uint8_t> BytesOf(const std::vector<int32_t>& values) {
  std::vector<uint8_t> bytes(values.size() * 4);
  memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// Weights 1, -2, 3, -4, ...
inline std::vector<uint8_t> SomeWeights(size_t count) {
  std::vector<uint8_t> bytes(count);
  for (size_t i = 0; i < count; ++i) {
    const int value = static_cast<int>(i % 100) + 1;
    bytes[i] = static_cast<uint8_t>(i % 2 == 0 ? value : -value);
  }
  return bytes;
}

struct Layer {
  std::string op;
  OptionMap options = {{"version", 1}};
  std::vector<uint8_t> blob;  // instead of the options, when not empty
  int32_t builtin_code = 0;   // else not a custom op, and the blob is its builtin_data
  FakeRuntime::TensorSpec input, weights, bias, output;
  FakeRuntime::TensorSpec shape;  // tensor 4, of a transposed convolution
  std::vector<int> inputs = {0, 1, 2}, outputs = {3};

  // Into the runtime, as its tensors 0 to 3 and its node 0.
  void AddTo(FakeRuntime* runtime) const {
    for (const auto* tensor : {&input, &weights, &bias, &output}) runtime->AddTensor(*tensor);
    if (!shape.dims.empty()) runtime->AddTensor(shape);
    if (builtin_code != 0) {
      runtime->AddBuiltin(builtin_code, inputs, outputs, blob);
      return;
    }
    runtime->AddNode(op, inputs, outputs, blob.empty() ? WriteFlexMap(options) : blob);
  }
};

// 3x3, 4 -> 6 channels on a 1x5x5x4 input, per-channel scales.
inline Layer SomeConv() {
  Layer layer;
  layer.op = "AccqConv2D";
  layer.input = {kTfLiteInt8, {1, 5, 5, 4}, {0.05f}, {3}, 0, {}, "input"};
  layer.weights = {
      kTfLiteInt8,      {6, 3, 3, 4}, {.01f, .02f, .03f, .04f, .05f, .06f}, {0, 0, 0, 0, 0, 0}, 0,
      SomeWeights(216), "weights"};
  layer.bias = {kTfLiteInt32, {6}, {}, {}, 0, BytesOf({1, -2, 3, -4, 5, -6}), "bias"};
  layer.output = {kTfLiteInt8, {1, 1, 1, 1}, {2.0f}, {-7}, 0, {}, "conv_out"};
  return layer;
}

// 3x3, 4 -> 8 channels.
inline Layer SomeDepthwise() {
  Layer layer = SomeConv();
  layer.op = "AccqDepthwiseConv2D";
  layer.options["depth_multiplier"] = 2;
  layer.weights = {kTfLiteInt8, {1, 3, 3, 8}, {0.02f}, {0}, 0, SomeWeights(72), "weights"};
  layer.bias = {kTfLiteInt32, {8}, {}, {}, 0, BytesOf({1, 2, 3, 4, 5, 6, 7, 8}), "bias"};
  return layer;
}

// 3x3, stride 2, 4 -> 6 channels on a 1x5x5x4 input.
inline Layer SomeTransposed() {
  Layer layer = SomeConv();
  layer.op = "AccqTransposeConv";
  layer.options["stride_h"] = layer.options["stride_w"] = 2;
  layer.shape = {kTfLiteInt32, {4}, {}, {}, 0, BytesOf({1, 10, 10, 6}), "shape"};
  layer.inputs = {4, 1, 0, 2};
  return layer;
}

template <typename Params>
void MakeBuiltin(int32_t code, const Params& params, const std::vector<int>& output_dims,
                 Layer* layer) {
  layer->builtin_code = code;
  layer->blob.resize(sizeof(params));
  memcpy(layer->blob.data(), &params, sizeof(params));
  layer->output.dims = output_dims;
}

// 20 -> 5.
inline Layer SomeDense() {
  Layer layer = SomeConv();
  layer.op = "AccqFullyConnected";
  layer.input.dims = {2, 10, 2};
  layer.weights = {kTfLiteInt8, {5, 20}, {0.02f}, {0}, 0, SomeWeights(100), "weights"};
  layer.bias = {kTfLiteInt32, {5}, {}, {}, 0, BytesOf({1, 2, 3, 4, 5}), "bias"};
  return layer;
}

// The same four as TFLite's own operators.
inline Layer SomeBuiltinConv() {
  Layer layer = SomeConv();
  MakeBuiltin(kTfLiteBuiltinConv2d, TfLiteConvParams{kTfLitePaddingSame, 1, 1, 0, 1, 1},
              {1, 5, 5, 6}, &layer);
  return layer;
}
inline Layer SomeBuiltinDepthwise() {
  Layer layer = SomeDepthwise();
  MakeBuiltin(kTfLiteBuiltinDepthwiseConv2d,
              TfLiteDepthwiseConvParams{kTfLitePaddingSame, 1, 1, 2, 0, 1, 1}, {1, 5, 5, 8},
              &layer);
  return layer;
}
inline Layer SomeBuiltinTransposed() {
  Layer layer = SomeTransposed();
  MakeBuiltin(kTfLiteBuiltinTransposeConv, TfLiteTransposeConvParams{kTfLitePaddingSame, 2, 2, 0},
              {1, 10, 10, 6}, &layer);
  return layer;
}
inline Layer SomeBuiltinDense() {
  Layer layer = SomeDense();
  MakeBuiltin(kTfLiteBuiltinFullyConnected, TfLiteFullyConnectedParams{0, 0, false, false}, {2, 5},
              &layer);
  return layer;
}

}  // namespace accq

#endif  // ACCQ_TESTS_DELEGATE_MODEL_BUILDER_H_
