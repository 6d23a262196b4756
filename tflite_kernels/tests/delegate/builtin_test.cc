// claim=builtin: TFLite's own operators, taken as they are.
#include <gtest/gtest.h>

#include <functional>

#include "delegate/builtin_options.h"
#include "delegate/delegate.h"
#include "tests/delegate/model_builder.h"

namespace accq {
namespace {

DelegateOptions Claiming(const std::string& kernel = "reference") {
  DelegateOptions options;
  options.claim_builtin = true;
  options.kernel = kernel;
  return options;
}

std::vector<int8_t> Output(const Layer& layer, const DelegateOptions& options) {
  FakeRuntime runtime;
  layer.AddTo(&runtime);
  Delegate delegate{options};
  if (!runtime.Apply(&delegate.tflite) || delegate.status.nodes != 1) return {};
  if (!runtime.AllocateTensors()) return {};
  int8_t* input = static_cast<int8_t*>(runtime.tensor(0).data);
  for (size_t i = 0; i < runtime.tensor(0).bytes; ++i) input[i] = static_cast<int8_t>(i * 37);
  if (!runtime.Invoke()) return {};
  const int8_t* output = static_cast<const int8_t*>(runtime.tensor(3).data);
  return {output, output + runtime.tensor(3).bytes};
}

TEST(Builtin, GivesWhatTheCustomOpGives) {
  const struct {
    Layer (*builtin)();
    Layer (*custom)();
  } pairs[] = {{SomeBuiltinConv, SomeConv},
               {SomeBuiltinDepthwise, SomeDepthwise},
               {SomeBuiltinDense, SomeDense},
               {SomeBuiltinTransposed, SomeTransposed}};
  for (const auto& pair : pairs) {
    const std::vector<int8_t> expected = Output(pair.custom(), DelegateOptions());
    EXPECT_FALSE(expected.empty());
    EXPECT_EQ(Output(pair.builtin(), Claiming()), expected);
  }
}

TEST(Builtin, ReadsEveryOption) {
  OpOptions options;
  std::string error;
  const TfLiteConvParams conv = {kTfLitePaddingValid, 2, 3, 1, 4, 5};
  ASSERT_TRUE(ReadBuiltinOptions(OpKind::kConv2D, &conv, &options, &error)) << error;
  EXPECT_EQ(options.padding, 1);
  EXPECT_EQ(options.stride_w, 2);
  EXPECT_EQ(options.stride_h, 3);
  EXPECT_EQ(options.activation, 1);
  EXPECT_EQ(options.dilation_w, 4);
  EXPECT_EQ(options.dilation_h, 5);
  const TfLiteDepthwiseConvParams depthwise = {kTfLitePaddingSame, 2, 3, 7, 3, 4, 5};
  ASSERT_TRUE(ReadBuiltinOptions(OpKind::kDepthwiseConv2D, &depthwise, &options, &error));
  EXPECT_EQ(options.padding, 0);
  EXPECT_EQ(options.depth_multiplier, 7);
  EXPECT_EQ(options.activation, 3);
  EXPECT_EQ(options.dilation_w, 4);
  EXPECT_EQ(options.dilation_h, 5);
  options = OpOptions();
  const TfLiteTransposeConvParams transposed = {kTfLitePaddingValid, 2, 3, 2};
  ASSERT_TRUE(ReadBuiltinOptions(OpKind::kTransposeConv, &transposed, &options, &error));
  EXPECT_EQ(options.stride_w, 2);
  EXPECT_EQ(options.stride_h, 3);
  EXPECT_EQ(options.activation, 2);
  EXPECT_EQ(options.dilation_h, 1);
  const TfLiteFullyConnectedParams dense = {1, 0, true, false};
  ASSERT_TRUE(ReadBuiltinOptions(OpKind::kFullyConnected, &dense, &options, &error));
  EXPECT_EQ(options.keep_num_dims, 1);
  EXPECT_EQ(options.activation, 1);
}

TEST(Builtin, IsLeftAloneUnlessAskedFor) {
  FakeRuntime runtime;
  SomeBuiltinConv().AddTo(&runtime);
  Delegate delegate{DelegateOptions()};
  ASSERT_TRUE(runtime.Apply(&delegate.tflite));
  EXPECT_EQ(runtime.plan(), (std::vector<int>{0}));
  EXPECT_EQ(delegate.status.builtin_layers, 0);
}

TEST(Builtin, IsTakenOnlyWhereItPays) {
  FakeRuntime runtime;
  SomeBuiltinConv().AddTo(&runtime);
  Delegate delegate{Claiming("")};
  ASSERT_TRUE(runtime.Apply(&delegate.tflite));
  OpSpec spec;  // what kernels are asked about of it
  spec.filter_h = spec.filter_w = 3;
  spec.in_channels = 4;
  spec.out_channels = 6;
  spec.same_padding = true;
  std::string error;
  const Kernel* kernel = ChooseKernel(spec, "", &error);
  EXPECT_EQ(delegate.status.builtin_nodes,
            kernel->pays != nullptr && kernel->pays(spec, Shape4{1, 5, 5, 4}) ? 1 : 0);
  EXPECT_EQ(delegate.status.builtin_layers, 1);
}

TEST(Builtin, TheReferenceNeverPays) {
  EXPECT_STREQ(KernelTable().back()->name, "reference");
  EXPECT_EQ(KernelTable().back()->pays, nullptr);
}

struct LeftAlone {
  const char* what;
  Layer (*layer)();
  std::function<void(Layer*)> change;
};

template <typename Params>
Params* ParamsOf(Layer* layer) {
  return reinterpret_cast<Params*>(layer->blob.data());
}

TEST(Builtin, WhatCanNotBeTakenIsNoError) {
  const LeftAlone cases[] = {
      {"tanh", SomeBuiltinConv, [](Layer* l) { ParamsOf<TfLiteConvParams>(l)->activation = 4; }},
      {"negative activation", SomeBuiltinConv,
       [](Layer* l) { ParamsOf<TfLiteConvParams>(l)->activation = -1; }},
      {"unknown padding", SomeBuiltinConv,
       [](Layer* l) { ParamsOf<TfLiteConvParams>(l)->padding = TfLitePadding(0); }},
      {"stride 0", SomeBuiltinConv,
       [](Layer* l) { ParamsOf<TfLiteConvParams>(l)->stride_height = 0; }},
      {"dilation -1", SomeBuiltinDepthwise,
       [](Layer* l) { ParamsOf<TfLiteDepthwiseConvParams>(l)->dilation_width_factor = -1; }},
      {"depth multiplier 3", SomeBuiltinDepthwise,
       [](Layer* l) { ParamsOf<TfLiteDepthwiseConvParams>(l)->depth_multiplier = 3; }},
      {"shuffled", SomeBuiltinDense,
       [](Layer* l) { ParamsOf<TfLiteFullyConnectedParams>(l)->weights_format = 1; }},
      {"hybrid", SomeBuiltinDense,
       [](Layer* l) {
         ParamsOf<TfLiteFullyConnectedParams>(l)->asymmetric_quantize_inputs = true;
       }},
      {"another shape", SomeBuiltinConv, [](Layer* l) { l->output.dims = {1, 5, 4, 6}; }},
      {"another rank", SomeBuiltinDense, [](Layer* l) { l->output.dims = {2, 5, 1}; }},
      {"computed weights", SomeBuiltinConv, [](Layer* l) { l->weights.constant.clear(); }},
      {"int64 bias", SomeBuiltinConv, [](Layer* l) { l->bias.type = TfLiteType(4); }},
      {"zero points", SomeBuiltinConv, [](Layer* l) { l->weights.zeros[4] = 1; }},
      {"a denormal scale", SomeBuiltinConv, [](Layer* l) { l->input.scales = {1e-40f}; }},
      {"kernel below stride", SomeBuiltinTransposed,
       [](Layer* l) { ParamsOf<TfLiteTransposeConvParams>(l)->stride_height = 4; }},
  };
  for (const LeftAlone& c : cases) {
    FakeRuntime runtime;
    Layer layer = c.layer();
    c.change(&layer);
    layer.AddTo(&runtime);
    Delegate delegate{Claiming()};
    EXPECT_TRUE(runtime.Apply(&delegate.tflite)) << c.what;
    EXPECT_EQ(runtime.plan(), (std::vector<int>{0})) << c.what;
    EXPECT_EQ(runtime.errors(), "") << c.what;
    EXPECT_EQ(delegate.status.builtin_layers, 1) << c.what;
    EXPECT_EQ(delegate.status.nodes, 0) << c.what;
  }
}

TEST(Builtin, FloatLayersAreNotCounted) {
  FakeRuntime runtime;
  Layer layer = SomeBuiltinConv();
  layer.input.type = TfLiteType(1);
  layer.AddTo(&runtime);
  runtime.AddBuiltin(0, {0, 1}, {3}, {0});  // ADD
  runtime.AddBuiltin(kTfLiteBuiltinConv2d, {}, {3}, {0});
  runtime.AddBuiltin(kTfLiteBuiltinConv2d, {99, 1}, {3}, {0});
  Delegate delegate{Claiming()};
  EXPECT_TRUE(runtime.Apply(&delegate.tflite));
  EXPECT_EQ(delegate.status.builtin_layers, 0);
}

TEST(Builtin, SaysWhatAnotherDelegateHasTaken) {
  FakeRuntime runtime;
  SomeBuiltinConv().AddTo(&runtime);
  runtime.AddBuiltin(kTfLiteBuiltinConv2d, {0, 1}, {3}, SomeBuiltinConv().blob);
  Delegate first{Claiming()}, second{Claiming()};
  ASSERT_TRUE(runtime.Apply(&first.tflite));
  EXPECT_EQ(first.status.builtin_nodes, 2);
  EXPECT_EQ(first.status.layers_elsewhere, 0);
  testing::internal::CaptureStderr();
  ASSERT_TRUE(runtime.Apply(&second.tflite));
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("keras-accq: claimed 0 of 2 int8 layers; 2 were already taken by another"),
            std::string::npos)
      << text;
  EXPECT_EQ(second.status.nodes, 0);
  EXPECT_EQ(second.status.builtin_layers, 2);
  EXPECT_EQ(second.status.layers_elsewhere, 2);
}

TEST(Builtin, NodesOfBothKindsAreCountedApart) {
  FakeRuntime runtime;
  SomeConv().AddTo(&runtime);
  runtime.SetDims(3, {1, 5, 5, 6});
  runtime.AddBuiltin(kTfLiteBuiltinConv2d, {0, 1, 2}, {3}, SomeBuiltinConv().blob);
  Delegate delegate{Claiming()};
  ASSERT_TRUE(runtime.Apply(&delegate.tflite)) << runtime.errors();
  EXPECT_EQ(delegate.status.nodes, 2);
  EXPECT_EQ(delegate.status.builtin_nodes, 1);
  runtime.Undo();
  EXPECT_EQ(delegate.status.nodes, 0);
  EXPECT_EQ(delegate.status.builtin_nodes, 0);
}

}  // namespace
}  // namespace accq
