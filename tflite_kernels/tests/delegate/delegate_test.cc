// What the delegate does with good nodes, in a fake runtime.
#include "delegate/delegate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "kernels/op.h"
#include "tests/delegate/model_builder.h"

namespace accq {
namespace {

void FillInput(FakeRuntime* runtime, int tensor = 0) {
  int8_t* data = static_cast<int8_t*>(runtime->tensor(tensor).data);
  for (size_t i = 0; i < runtime->tensor(tensor).bytes; ++i) {
    data[i] = static_cast<int8_t>(static_cast<int>(i * 37 % 256) - 128);
  }
}

std::vector<int8_t> Bytes(const TfLiteTensor& tensor) {
  const int8_t* data = static_cast<const int8_t*>(tensor.data);
  return {data, data + tensor.bytes};
}

std::vector<int> Dims(const TfLiteTensor& tensor) {
  return {Data(tensor.dims), Data(tensor.dims) + tensor.dims->size};
}

// Applied, allocated, filled and invoked; the output.
std::vector<int8_t> RunLayer(FakeRuntime* runtime, Delegate* delegate) {
  EXPECT_TRUE(runtime->Apply(&delegate->tflite)) << runtime->errors();
  EXPECT_TRUE(runtime->AllocateTensors()) << runtime->errors();
  FillInput(runtime);
  EXPECT_TRUE(runtime->Invoke()) << runtime->errors();
  return Bytes(runtime->tensor(3));
}

TEST(DelegateTest, RunsAFullyConnectedLayerToTheContract) {
  FakeRuntime runtime;
  const Layer layer = SomeDense();
  layer.AddTo(&runtime);
  Delegate delegate{DelegateOptions()};
  const std::vector<int8_t> got = RunLayer(&runtime, &delegate);
  EXPECT_EQ(Dims(runtime.tensor(3)), (std::vector<int>{2, 5}));
  const int8_t* x = static_cast<const int8_t*>(runtime.tensor(0).data);
  const int8_t* q = reinterpret_cast<const int8_t*>(layer.weights.constant.data());
  const float product = 0.05f * 0.02f;
  for (int row = 0; row < 2; ++row) {
    for (int unit = 0; unit < 5; ++unit) {
      int sum = unit + 1;
      for (int k = 0; k < 20; ++k) sum += (x[row * 20 + k] - 3) * q[unit * 20 + k];
      const float value = static_cast<float>(sum) * (product / 2.0f);
      const long y = std::clamp(lrintf(value) - 7, -128L, 127L);
      EXPECT_EQ(got[static_cast<size_t>(row * 5 + unit)], y);
    }
  }
}

TEST(DelegateTest, RunsATransposedConvolutionToTheContract) {
  FakeRuntime runtime;
  const Layer layer = SomeTransposed();
  layer.AddTo(&runtime);
  Delegate delegate{DelegateOptions()};
  const std::vector<int8_t> got = RunLayer(&runtime, &delegate);
  EXPECT_EQ(Dims(runtime.tensor(3)), (std::vector<int>{1, 10, 10, 6}));
  const int8_t* x = static_cast<const int8_t*>(runtime.tensor(0).data);
  const int8_t* q = reinterpret_cast<const int8_t*>(layer.weights.constant.data());
  const int bias[6] = {1, -2, 3, -4, 5, -6};
  std::vector<int> sums(600);  // one of the 11 x 11 places is cut off, behind
  for (int i = 0; i < 600; ++i) sums[static_cast<size_t>(i)] = bias[i % 6];
  for (int pixel = 0; pixel < 25; ++pixel) {
    for (int tap = 0; tap < 9; ++tap) {
      const int row = pixel / 5 * 2 + tap / 3, column = pixel % 5 * 2 + tap % 3;
      for (int c = 0; row < 10 && column < 10 && c < 6; ++c) {
        int& sum = sums[static_cast<size_t>((row * 10 + column) * 6 + c)];
        for (int i = 0; i < 4; ++i) sum += (x[pixel * 4 + i] - 3) * q[(c * 9 + tap) * 4 + i];
      }
    }
  }
  for (size_t i = 0; i < 600; ++i) {
    const float product = 0.05f * layer.weights.scales[i % 6];
    const float value = static_cast<float>(sums[i]) * (product / 2.0f);
    EXPECT_EQ(got[i], std::clamp(lrintf(value) - 7, -128L, 127L)) << i;
  }
}

TEST(DelegateTest, BothLayoutsOfFloatsGiveTheSame) {
  for (Layer (*make)() : {SomeConv, SomeDepthwise, SomeDense, SomeTransposed}) {
    std::vector<int8_t> results[2];
    for (const bool pointer_floats : {false, true}) {
      FakeRuntime runtime;
      runtime.pointer_floats = pointer_floats;
      make().AddTo(&runtime);
      Delegate delegate{DelegateOptions()};
      results[pointer_floats] = RunLayer(&runtime, &delegate);
    }
    EXPECT_EQ(results[0], results[1]);
    EXPECT_GT(results[0].size(), 0u);
  }
}

TEST(DelegateTest, ABiasMayBeLeftOut) {
  std::vector<int8_t> results[3];
  for (int form = 0; form < 3; ++form) {
    FakeRuntime runtime;
    Layer layer = SomeConv();
    if (form == 0) layer.bias.constant = BytesOf({0, 0, 0, 0, 0, 0});
    if (form == 1) layer.inputs = {0, 1, -1};
    if (form == 2) layer.inputs = {0, 1};
    layer.AddTo(&runtime);
    Delegate delegate{DelegateOptions()};
    results[form] = RunLayer(&runtime, &delegate);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(DelegateTest, ActivationAndOutputRangeClampInThatOrder) {
  const struct {
    OptionMap options;
    float scale;  // fine enough that values lie beyond both limits
    int low, high;
  } cases[] = {
      {{}, 0.01f, -128, 127},
      {{{"activation", 1}}, 0.01f, -7, 127},
      {{{"activation", 2}}, 0.1f, -17, 3},
      {{{"activation", 3}}, 2.0f, -7, -4},
      {{{"activation", 3}}, 0.4f, -7, 8},
      {{{"out_min", -20}, {"out_max", 30}}, 0.01f, -20, 30},
      {{{"activation", 1}, {"out_max", 30}}, 0.01f, -7, 30},
      {{{"activation", 3}, {"out_min", 10}, {"out_max", 20}}, 2.0f, 10, 10},  // they do not meet
      {{{"activation", 1}, {"out_min", -100}, {"out_max", -90}}, 0.01f, -90, -90},
  };
  for (const auto& c : cases) {
    FakeRuntime runtime;
    Layer layer = SomeDense();
    layer.output.scales = {c.scale};
    layer.output.zeros = {-7};
    for (const auto& option : c.options) layer.options[option.first] = option.second;
    layer.AddTo(&runtime);
    Delegate delegate{DelegateOptions()};
    const std::vector<int8_t> got = RunLayer(&runtime, &delegate);
    EXPECT_EQ(*std::min_element(got.begin(), got.end()), c.low);
    EXPECT_EQ(*std::max_element(got.begin(), got.end()), c.high);
  }
}

TEST(DelegateTest, KeepNumDimsKeepsThem) {
  FakeRuntime runtime;
  Layer layer = SomeDense();
  layer.input.dims = {2, 3, 20};
  layer.options["keep_num_dims"] = 1;
  layer.AddTo(&runtime);
  Delegate delegate{DelegateOptions()};
  RunLayer(&runtime, &delegate);
  EXPECT_EQ(Dims(runtime.tensor(3)), (std::vector<int>{2, 3, 5}));
}

TEST(DelegateTest, FollowsResizesAndRefusesBadOnesWithoutLosingTheNode) {
  FakeRuntime runtime;
  SomeConv().AddTo(&runtime);
  Delegate delegate{DelegateOptions()};
  const std::vector<int8_t> first = RunLayer(&runtime, &delegate);
  for (const std::vector<int>& dims :
       std::vector<std::vector<int>>{{3, 7, 9, 4}, {1, 40, 40, 4}, {1, 1, 1, 4}}) {
    runtime.SetDims(0, dims);
    ASSERT_TRUE(runtime.AllocateTensors()) << runtime.errors();
    FillInput(&runtime);
    ASSERT_TRUE(runtime.Invoke());
    EXPECT_EQ(Dims(runtime.tensor(3)), (std::vector<int>{dims[0], dims[1], dims[2], 6}));
  }
  runtime.SetDims(0, {1, 5, 5, 8});
  EXPECT_FALSE(runtime.AllocateTensors());
  EXPECT_NE(runtime.errors().find("not [batch, height, width, 4]"), std::string::npos);
  runtime.SetDims(0, {1, 5, 5, 4});
  ASSERT_TRUE(runtime.AllocateTensors());
  FillInput(&runtime);
  ASSERT_TRUE(runtime.Invoke());
  EXPECT_EQ(Bytes(runtime.tensor(3)), first);
  EXPECT_EQ(delegate.status.nodes, 1);
}

TEST(DelegateTest, TakesOnlyItsOwnOps) {
  FakeRuntime runtime;
  SomeConv().AddTo(&runtime);
  runtime.AddNode("AccqConv2DTranspose", {0}, {3}, {0});
  runtime.AddNode("accqconv2d", {0}, {3}, {0});
  Delegate delegate{DelegateOptions()};
  ASSERT_TRUE(runtime.Apply(&delegate.tflite)) << runtime.errors();
  EXPECT_EQ(runtime.plan(), (std::vector<int>{3, 1, 2}));
  EXPECT_EQ(delegate.status.nodes, 1);
  // A second delegate of ours finds nothing more.
  Delegate second{DelegateOptions()};
  ASSERT_TRUE(runtime.Apply(&second.tflite)) << runtime.errors();
  EXPECT_EQ(second.status.nodes, 0);
}

TEST(DelegateTest, CountsNodesWhileTheyLive) {
  Delegate delegate{DelegateOptions()};
  {
    FakeRuntime one, two;
    SomeConv().AddTo(&one);
    SomeDense().AddTo(&two);
    ASSERT_TRUE(one.Apply(&delegate.tflite));
    ASSERT_TRUE(two.Apply(&delegate.tflite));
    EXPECT_EQ(delegate.status.nodes, 2);
    // The runtime may take a delegate out and put it back.
    one.Undo();
    EXPECT_EQ(delegate.status.nodes, 1);
    ASSERT_TRUE(one.Apply(&delegate.tflite));
    EXPECT_EQ(delegate.status.nodes, 2);
    ASSERT_TRUE(one.AllocateTensors());
  }
  EXPECT_EQ(delegate.status.nodes, 0);
}

TEST(DelegateTest, EveryKernelGivesTheSameOrRefuses) {
  for (Layer (*make)() : {SomeConv, SomeDepthwise, SomeDense}) {
    DelegateOptions options;
    options.kernel = "reference";
    FakeRuntime runtime;
    make().AddTo(&runtime);
    Delegate reference{options};
    const std::vector<int8_t> expected = RunLayer(&runtime, &reference);
    for (const Kernel* kernel : KernelTable()) {
      if (!kernel->supported_cpu()) continue;
      options.kernel = kernel->name;
      FakeRuntime other;
      make().AddTo(&other);
      Delegate delegate{options};
      if (other.Apply(&delegate.tflite) && other.AllocateTensors()) {
        FillInput(&other);
        ASSERT_TRUE(other.Invoke());
        EXPECT_EQ(Bytes(other.tensor(3)), expected) << kernel->name;
      } else {
        EXPECT_NE(other.errors().find("does not implement this layer"), std::string::npos)
            << other.errors();
      }
    }
  }
}

TEST(DelegateTest, InvokeWithoutMemoryFails) {
  FakeRuntime runtime;
  SomeConv().AddTo(&runtime);
  Delegate delegate{DelegateOptions()};
  RunLayer(&runtime, &delegate);
  void* data = runtime.tensor(0).data;
  runtime.tensor(0).data = nullptr;
  EXPECT_FALSE(runtime.Invoke());
  EXPECT_NE(runtime.errors().find("its tensors have no memory"), std::string::npos);
  runtime.tensor(0).data = data;
  runtime.tensor(3).bytes -= 1;
  EXPECT_FALSE(runtime.Invoke());
  runtime.tensor(3).bytes += 1;
  EXPECT_TRUE(runtime.Invoke());
}

TEST(DelegateTest, ReportsALinePerPreparedNode) {
  const std::string path = testing::TempDir() + "accq_report_test.jsonl";
  std::remove(path.c_str());
  DelegateOptions options;
  options.report_path = path;
  options.kernel = "reference";
  FakeRuntime runtime;
  Layer layer = SomeDense();
  layer.output.name = "a \"quoted\"\nname";
  layer.AddTo(&runtime);
  Delegate delegate{options};
  RunLayer(&runtime, &delegate);
  runtime.SetDims(0, {1, 20});
  ASSERT_TRUE(runtime.AllocateTensors());
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  const std::string lines = text.str();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  EXPECT_EQ(lines.find("{\"op\": \"AccqFullyConnected\", \"output\": \"a \\\"quoted\\\"?name\", "
                       "\"node\": 0, \"input_shape\": [2, 10, 2], \"output_shape\": [2, 5], "
                       "\"kernel\": \"reference\""),
            0u)
      << lines;
  EXPECT_NE(lines.find("\"macs\": 200}"), std::string::npos) << lines;
  EXPECT_NE(lines.find("\"macs\": 100}"), std::string::npos) << lines;
}

TEST(DelegateTest, AReportThatCanNotBeWrittenIsAnError) {
  DelegateOptions options;
  options.report_path = "/dev/full";
  FakeRuntime runtime;
  SomeConv().AddTo(&runtime);
  Delegate delegate{options};
  ASSERT_TRUE(runtime.Apply(&delegate.tflite));
  EXPECT_FALSE(runtime.AllocateTensors());
  EXPECT_NE(runtime.errors().find("\"/dev/full\": No space left"), std::string::npos)
      << runtime.errors();
}

}  // namespace
}  // namespace accq
