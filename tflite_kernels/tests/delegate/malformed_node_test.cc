// Nodes that no converter writes: each is refused with a text, and nothing is read or written
// outside (the sanitizer builds run this too).
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <ostream>

#include "delegate/delegate.h"
#include "tests/delegate/model_builder.h"

namespace accq {
namespace {

struct Case {
  const char* text;  // part of the expected error
  std::function<void(Layer*)> change;
  Layer (*layer)() = SomeConv;
  // Changes what only a broken runtime would hand over.
  std::function<void(FakeRuntime*)> damage = nullptr;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.text; }

class MalformedNode : public testing::TestWithParam<Case> {};

TEST_P(MalformedNode, IsRefusedWithAText) {
  for (const bool pointer_floats : {false, true}) {
    FakeRuntime runtime;
    runtime.pointer_floats = pointer_floats;
    Layer layer = GetParam().layer();
    if (GetParam().change) GetParam().change(&layer);
    layer.AddTo(&runtime);
    if (GetParam().damage) GetParam().damage(&runtime);
    Delegate delegate{DelegateOptions()};
    EXPECT_FALSE(runtime.Apply(&delegate.tflite) && runtime.AllocateTensors());
    EXPECT_NE(runtime.errors().find(GetParam().text), std::string::npos) << runtime.errors();
    EXPECT_EQ(runtime.errors().find("keras-accq: " + layer.op + " (node 0"), 0u)
        << runtime.errors();
    EXPECT_LT(runtime.errors().size(), 1000u);
    runtime.Undo();
    EXPECT_EQ(delegate.status.nodes, 0);
  }
}

TEST_P(MalformedNode, IsRefusedByARuntimeThatTakesNoTexts) {
  FakeRuntime runtime;
  runtime.has_report_error = false;
  Layer layer = GetParam().layer();
  if (GetParam().change) GetParam().change(&layer);
  layer.AddTo(&runtime);
  if (GetParam().damage) GetParam().damage(&runtime);
  Delegate delegate{DelegateOptions()};
  EXPECT_FALSE(runtime.Apply(&delegate.tflite) && runtime.AllocateTensors());
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

const Case kOptions[] = {
    {"it has no options", nullptr, SomeConv,
     [](FakeRuntime* r) { r->node(0).custom_initial_data = nullptr; }},
    {"it has no options", nullptr, SomeConv,
     [](FakeRuntime* r) { r->node(0).custom_initial_data_size = 0; }},
    {"it has no options", nullptr, SomeConv,
     [](FakeRuntime* r) { r->node(0).custom_initial_data_size = -5; }},
    {"not a FlexBuffer map", [](Layer* l) { l->blob = {1, 2, 3, 4, 5, 6}; }},
    {"have no version", [](Layer* l) { l->options = {{"acc_bits", 16}}; }},
    {"have version 2", [](Layer* l) { l->options["version"] = 2; }},
    {"unknown key \"depth_multiplier\"", [](Layer* l) { l->options["depth_multiplier"] = 1; }},
    {"\"stride_h\" is 0", [](Layer* l) { l->options["stride_h"] = 0; }},
    {"\"dilation_w\" is -1", [](Layer* l) { l->options["dilation_w"] = -1; }},
    {"dilated filter height", [](Layer* l) { l->options["dilation_h"] = INT32_MAX; }},
    {"operand range", [](Layer* l) { l->options["in_min"] = 4; }},  // SAME pads with 3
};
INSTANTIATE_TEST_SUITE_P(Options, MalformedNode, testing::ValuesIn(kOptions));

const Case kTensors[] = {
    {"it has 1 inputs and 1 outputs", [](Layer* l) { l->inputs = {0}; }},
    {"it has 4 inputs and 1 outputs", [](Layer* l) { l->inputs = {0, 1, 2, 2}; }},
    {"it has 3 inputs and 0 outputs", [](Layer* l) { l->outputs = {}; }},
    {"it has 3 inputs and 2 outputs", [](Layer* l) { l->outputs = {3, 3}; }},
    {"one does not exist", [](Layer* l) { l->inputs = {-1, 1, 2}; }},
    {"one does not exist", [](Layer* l) { l->inputs = {0, -1, 2}; }},
    {"one does not exist", [](Layer* l) { l->inputs = {0, 1, -2}; }},
    {"one does not exist", [](Layer* l) { l->inputs = {0, 1, 4}; }},
    {"one does not exist", [](Layer* l) { l->inputs = {INT32_MAX, 1, 2}; }},
    {"one does not exist", [](Layer* l) { l->outputs = {-1}; }},
    {"its output is its input", [](Layer* l) { l->outputs = {0}; }},
    {"not int8", [](Layer* l) { l->outputs = {2}; }},
    {"the output is a constant", [](Layer* l) { l->outputs = {1}; }},
    {"types 1 and 9, not int8", [](Layer* l) { l->input.type = static_cast<TfLiteType>(1); }},
    {"types 9 and 7, not int8", [](Layer* l) { l->output.type = static_cast<TfLiteType>(7); }},
    {"weights tensor has the type 18", [](Layer* l) { l->weights.type = TfLiteType(18); }},
    {"weights tensor is not a constant", [](Layer* l) { l->weights.constant.clear(); }},
    {"weights tensor is not a constant", nullptr, SomeConv,
     [](FakeRuntime* r) { r->tensor(1).data = nullptr; }},
    {"weights tensor is sparse", nullptr, SomeConv,
     [](FakeRuntime* r) { r->tensor(1).sparsity = &r->tensor(1); }},
    {"bias has the type 9, not int32", [](Layer* l) { l->bias.type = kTfLiteInt8; }},
    {"bias is not a constant", [](Layer* l) { l->bias.constant.clear(); }},
    {"bias has the shape [2, 3]", [](Layer* l) { l->bias.dims = {2, 3}; }},
    {"holds 5 elements", [](Layer* l) { l->bias.constant.resize(23); }},
    {"bias has 5 elements for 6 channels",
     [](Layer* l) {
       l->bias.dims = {5};
       l->bias.constant.resize(20);
     }},
};
INSTANTIATE_TEST_SUITE_P(Tensors, MalformedNode, testing::ValuesIn(kTensors));

void SetShape(Layer* layer, const std::vector<int32_t>& sizes) {
  layer->shape.constant = BytesOf(sizes);
}

const Case kTransposed[] = {
    {"it has 2 inputs and 1 outputs, not output shape", [](Layer* l) { l->inputs = {4, 1}; },
     SomeTransposed},
    {"it has 5 inputs", [](Layer* l) { l->inputs = {4, 1, 0, 2, 2}; }, SomeTransposed},
    {"it names the tensor -1,", [](Layer* l) { l->inputs = {-1, 1, 0, 2}; }, SomeTransposed},
    {"it names the tensor 99,", [](Layer* l) { l->inputs = {99, 1, 0, 2}; }, SomeTransposed},
    {"one does not exist", [](Layer* l) { l->inputs = {4, 1, 5, 2}; }, SomeTransposed},
    {"its output is its input", [](Layer* l) { l->outputs = {0}; }, SomeTransposed},
    {"output shape has the type 9, not int32", [](Layer* l) { l->inputs = {1, 1, 0, 2}; },
     SomeTransposed},
    {"output shape is not a constant", [](Layer* l) { l->shape.constant.clear(); }, SomeTransposed},
    {"output shape is not a constant", nullptr, SomeTransposed,
     [](FakeRuntime* r) { r->tensor(4).data = nullptr; }},
    {"output shape is sparse", nullptr, SomeTransposed,
     [](FakeRuntime* r) { r->tensor(4).sparsity = &r->tensor(4); }},
    {"output shape has the shape [2, 2]", [](Layer* l) { l->shape.dims = {2, 2}; }, SomeTransposed},
    {"output shape has the shape [-4]", [](Layer* l) { l->shape.dims = {-4}; }, SomeTransposed},
    {"output shape has 3 elements", [](Layer* l) { l->shape.dims = {3}; }, SomeTransposed},
    {"output shape holds 3 elements", [](Layer* l) { l->shape.constant.resize(15); },
     SomeTransposed},
    {"output shape has 5 channels", [](Layer* l) { SetShape(l, {1, 10, 10, 5}); }, SomeTransposed},
    {"batch is not the 2", [](Layer* l) { SetShape(l, {2, 10, 10, 6}); }, SomeTransposed},
    {"batch is not the -1", [](Layer* l) { SetShape(l, {-1, 10, 10, 6}); }, SomeTransposed},
    {"out_h: expected 1", [](Layer* l) { SetShape(l, {1, 0, 10, 6}); }, SomeTransposed},
    {"out_w: expected 1", [](Layer* l) { SetShape(l, {1, 10, INT32_MIN, 6}); }, SomeTransposed},
    {"height: an output size of 11", [](Layer* l) { SetShape(l, {1, 11, 10, 6}); }, SomeTransposed},
    {"width: an output size of 2147483647", [](Layer* l) { SetShape(l, {1, 9, INT32_MAX, 6}); },
     SomeTransposed},
    {"do not suit 5 input channels", [](Layer* l) { l->input.dims = {1, 5, 5, 5}; },
     SomeTransposed},
    {"the input has the shape [5, 5, 4]", [](Layer* l) { l->input.dims = {5, 5, 4}; },
     SomeTransposed},
    {"smaller than its stride", [](Layer* l) { l->options["stride_h"] = 4; }, SomeTransposed},
    {"\"stride_w\" is 0", [](Layer* l) { l->options["stride_w"] = 0; }, SomeTransposed},
    {"unknown key \"dilation_h\"", [](Layer* l) { l->options["dilation_h"] = 1; }, SomeTransposed},
    {"operand range", [](Layer* l) { l->options["in_min"] = 4; }, SomeTransposed},
};
INSTANTIATE_TEST_SUITE_P(Transposed, MalformedNode, testing::ValuesIn(kTransposed));

const Case kShapes[] = {
    {"input has the shape [1, 5, 20]", [](Layer* l) { l->input.dims = {1, 5, 20}; }},
    {"input has the shape []", [](Layer* l) { l->input.dims = {}; }},
    {"input has the shape [1, 5, 5, 0]", [](Layer* l) { l->input.dims = {1, 5, 5, 0}; }},
    {"input has the shape [1, 0, 5, 4]", [](Layer* l) { l->input.dims = {1, 0, 5, 4}; }},
    {"input has the shape [0, 5, 5, 4]", [](Layer* l) { l->input.dims = {0, 5, 5, 4}; }},
    {"input has the shape [1, -5, 5, 4]", [](Layer* l) { l->input.dims = {1, -5, 5, 4}; }},
    {"not overflow", [](Layer* l) { l->input.dims = {INT32_MAX, INT32_MAX, INT32_MAX, 4}; }},
    {"input has the shape []", nullptr, SomeConv,
     [](FakeRuntime* r) {
       free(r->tensor(0).dims);
       r->tensor(0).dims = nullptr;
     }},
    {"do not suit 5 input channels", [](Layer* l) { l->input.dims = {1, 5, 5, 5}; }},
    {"do not suit 2 input channels", [](Layer* l) { l->input.dims = {1, 5, 5, 2}; }},
    // 16 input channels make 4 groups of the filter's 4, which do not divide 6 outputs.
    {"do not suit 16 input channels", [](Layer* l) { l->input.dims = {1, 5, 5, 16}; }},
    {"weights tensor has the shape [6, 36]", [](Layer* l) { l->weights.dims = {6, 36}; }},
    {"weights tensor has the shape [6, 3, 3, 0]", [](Layer* l) { l->weights.dims[3] = 0; }},
    {"weights tensor has the shape [-6", [](Layer* l) { l->weights.dims[0] = -6; }},
    {"not overflow", [](Layer* l) { l->weights.dims = {INT32_MAX, INT32_MAX, INT32_MAX, 4}; }},
    {"holds 216 elements for the shape [6, 3, 3, 8]",
     [](Layer* l) {
       l->weights.dims[3] = 8;
       l->input.dims[3] = 8;
     }},
    {"holds 216 elements for the shape [46341, 46341",
     [](Layer* l) { l->weights.dims = {46341, 46341, 1, 4}; }},
    {"smaller than the 3 x 3 filter",
     [](Layer* l) {
       l->options["padding"] = 1;
       l->input.dims = {1, 2, 5, 4};
     }},
    {"smaller than the 3 x 3 filter",
     [](Layer* l) {
       l->options["padding"] = 1;
       l->options["dilation_w"] = 3;
     }},
    {"do not suit 4 input channels and depth_multiplier 3",
     [](Layer* l) { l->options["depth_multiplier"] = 3; }, SomeDepthwise},
    {"do not suit 3 input channels", [](Layer* l) { l->input.dims[3] = 3; }, SomeDepthwise},
    {"do not suit 4 input channels", [](Layer* l) { l->weights.dims = {3, 3, 1, 8}; },
     SomeDepthwise},
    {"weights tensor has the shape [5, 20, 1]", [](Layer* l) { l->weights.dims = {5, 20, 1}; },
     SomeDense},
    {"does not hold rows of 20", [](Layer* l) { l->input.dims = {30}; }, SomeDense},
    {"does not hold rows of 20", [](Layer* l) { l->input.dims = {}; }, SomeDense},
    {"does not hold rows of 20",
     [](Layer* l) {
       l->options["keep_num_dims"] = 1;
       l->input.dims = {20, 2};
     },
     SomeDense},
    {"sizes must be positive", [](Layer* l) { l->input.dims = {0, 20}; }, SomeDense},
    {"output does not fit the address space",
     [](Layer* l) {  // an input of nearly 2^62 or 2^30 elements, an output of 54 / 4 times as many
       const bool wide = sizeof(size_t) == 8;
       l->input.dims = {wide ? INT32_MAX : 1 << 14, wide ? 1 << 29 : 1 << 14, 1, 4};
       l->weights.dims = {54, 1, 1, 4};
       l->weights.scales = {0.1f};
       l->weights.zeros = {0};
       l->inputs = {0, 1};
     }},
};
INSTANTIATE_TEST_SUITE_P(Shapes, MalformedNode, testing::ValuesIn(kShapes));

const Case kQuantization[] = {
    {"input is not quantized", [](Layer* l) { l->input.scales.clear(); }},
    {"input is not quantized with one scale",
     [](Layer* l) {
       l->input.scales = {0.1f, 0.2f};
       l->input.zeros = {0, 0};
     }},
    {"input is not quantized with one scale", [](Layer* l) { l->input.zeros = {}; }},
    {"output is not quantized", [](Layer* l) { l->output.scales.clear(); }},
    {"output has the zero point 128", [](Layer* l) { l->output.zeros = {128}; }},
    {"input has the zero point -129", [](Layer* l) { l->input.zeros = {-129}; }},
    {"input has the scale -0.1", [](Layer* l) { l->input.scales = {-0.1f}; }},
    {"input has the scale inf", [](Layer* l) { l->input.scales = {kInfinity}; }},
    {"input has the scale nan", [](Layer* l) { l->input.scales = {kNan}; }},
    {"input has the scale 9.99995e-41", [](Layer* l) { l->input.scales = {1e-40f}; }},
    {"input is not quantized", [](Layer* l) { l->input.scales = {0.0f}; }},
    {"weights tensor is not quantized", [](Layer* l) { l->weights.scales.clear(); }},
    {"weights tensor is not quantized", nullptr, SomeConv,
     [](FakeRuntime* r) { r->tensor(1).quantization.params = nullptr; }},
    {"weights tensor is not quantized", nullptr, SomeConv,
     [](FakeRuntime* r) {
       static_cast<TfLiteAffineQuantization*>(r->tensor(1).quantization.params)->scale = nullptr;
     }},
    {"weights tensor is not quantized", nullptr, SomeConv,
     [](FakeRuntime* r) { r->tensor(1).quantization.type = TfLiteQuantizationType(2); }},
    // Without it the layout of the weights' array is unknown.
    {"weights tensor is not quantized", nullptr, SomeConv,
     [](FakeRuntime* r) { r->tensor(0).quantization.params = nullptr; }},
    {"has 5 scales for 6 channels", [](Layer* l) { l->weights.scales.pop_back(); }},
    {"scales along dimension 3, not 0", [](Layer* l) { l->weights.dimension = 3; }},
    {"scales along dimension 0, not 3",
     [](Layer* l) {
       l->weights.scales.assign(8, 0.1f);
       l->weights.zeros.assign(8, 0);
     },
     SomeDepthwise},
    {"has the zero point 1 in channel 4", [](Layer* l) { l->weights.zeros[4] = 1; }},
    {"has 3 zero points for 6 channels", [](Layer* l) { l->weights.zeros.resize(3); }},
    {"has 0 zero points", nullptr, SomeConv,
     [](FakeRuntime* r) {
       static_cast<TfLiteAffineQuantization*>(r->tensor(1).quantization.params)->zero_point =
           nullptr;
     }},
    {"weights tensor has the zero point 5", [](Layer* l) { l->weights.zeros = {5}; }, SomeDense},
    {"has the scale 0 in channel 2", [](Layer* l) { l->weights.scales[2] = 0; }},
    {"has the scale -1 in channel 5", [](Layer* l) { l->weights.scales[5] = -1; }},
    {"has the scale nan in channel 0", [](Layer* l) { l->weights.scales[0] = kNan; }},
    {"channel 1: input scale 1e-30 times weight scale 1e-10 is no normal number",
     [](Layer* l) {
       l->input.scales = {1e-30f};
       l->weights.scales.assign(6, 1e-10f);
       l->weights.scales[0] = 0.01f;
     }},
    {"multiplier in (0, 256)", [](Layer* l) { l->output.scales = {1e-6f}; }},
    {"multiplier in (0, 256)",
     [](Layer* l) {
       l->output.scales = {3e38f};
       l->input.scales = {1e-30f};
     }},
    {"channel 1: expected a multiplier in (0, 256)",
     [](Layer* l) { l->weights.scales[1] = 256.0f * 2.0f / 0.05f; }},
    {"came 2147483701",  // 2^31 - 1 - 3 * sum(weights)
     [](Layer* l) { l->bias.constant = BytesOf({INT32_MAX, 0, 0, 0, 0, 0}); }},
    {"channel 0: greatest accumulator",
     [](Layer* l) {
       l->input.zeros = {0};
       l->bias.constant = BytesOf({INT32_MAX, 0, 0, 0, 0, 0});
     }},
    {"channel 2: least accumulator",
     [](Layer* l) {
       l->input.zeros = {0};
       l->bias.constant = BytesOf({0, 0, INT32_MIN, 0, 0, 0});
     }},
};
INSTANTIATE_TEST_SUITE_P(Quantization, MalformedNode, testing::ValuesIn(kQuantization));

TEST(MalformedNode, LeavesTheGraphAsItWas) {
  FakeRuntime runtime;
  SomeConv().AddTo(&runtime);
  runtime.AddNode("AccqConv2D", {0, 1, 2}, {3}, {0});
  Delegate delegate{DelegateOptions()};
  EXPECT_FALSE(runtime.Apply(&delegate.tflite));
  EXPECT_EQ(runtime.plan(), (std::vector<int>{0, 1}));
  EXPECT_NE(runtime.errors().find("(node 1"), std::string::npos) << runtime.errors();
}

TEST(MalformedNode, NamesThatAreNoTextDoNoHarm) {
  FakeRuntime runtime;
  Layer layer = SomeConv();
  layer.output.name = "%s%n\xFF\n" + std::string(5000, 'x');
  layer.options["version"] = 9;
  layer.AddTo(&runtime);
  Delegate delegate{DelegateOptions()};
  EXPECT_FALSE(runtime.Apply(&delegate.tflite));
  EXPECT_NE(runtime.errors().find("\"%s%n??xxx"), std::string::npos) << runtime.errors();
  EXPECT_NE(runtime.errors().find("version 9"), std::string::npos) << runtime.errors();
}

}  // namespace
}  // namespace accq
