// Several interpreters in several threads, sharing one delegate or not. Worth most when built
// with -DACCQ_SANITIZE=thread.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "delegate/delegate.h"
#include "tests/delegate/model_builder.h"

namespace accq {
namespace {

// Applies, resizes and invokes again and again; the last output.
std::vector<int8_t> Work(Delegate* delegate, Layer (*make)(), int rounds) {
  std::vector<int8_t> result;
  for (int round = 0; round < rounds; ++round) {
    FakeRuntime runtime;
    const Layer layer = make();
    layer.AddTo(&runtime);
    if (!runtime.Apply(&delegate->tflite)) return {};
    for (const int batch : {3, 1, 2}) {
      std::vector<int> dims = layer.input.dims;
      dims[0] = 2 * batch;
      runtime.SetDims(0, dims);
      if (!runtime.AllocateTensors()) return {};
      int8_t* input = static_cast<int8_t*>(runtime.tensor(0).data);
      for (size_t i = 0; i < runtime.tensor(0).bytes; ++i) input[i] = static_cast<int8_t>(i * 11);
      if (!runtime.Invoke()) return {};
      const int8_t* output = static_cast<const int8_t*>(runtime.tensor(3).data);
      result.assign(output, output + runtime.tensor(3).bytes);
    }
  }
  return result;
}

TEST(Threads, InterpretersDoNotDisturbEachOther) {
  Layer (*const layers[])() = {SomeConv, SomeDepthwise, SomeDense};
  std::vector<int8_t> expected[3];
  for (int i = 0; i < 3; ++i) {
    Delegate own{DelegateOptions()};
    expected[i] = Work(&own, layers[i], 1);
    ASSERT_FALSE(expected[i].empty());
  }
  Delegate shared{DelegateOptions()};
  std::vector<int8_t> got[6];
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      Delegate own{DelegateOptions()};
      got[i] = Work(i < 3 ? &shared : &own, layers[i % 3], 20);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(got[i], expected[i % 3]) << i;
  EXPECT_EQ(shared.status.nodes, 0);
}

// A layer large enough to be worth several threads.
Layer LargeConv() {
  Layer layer = SomeConv();
  layer.input.dims = {1, 60, 60, 4};
  return layer;
}

std::vector<int8_t> RunLarge(Delegate* delegate, int recommended) {
  FakeRuntime runtime;
  runtime.SetThreads(recommended);
  LargeConv().AddTo(&runtime);
  if (!runtime.Apply(&delegate->tflite) || !runtime.AllocateTensors()) return {};
  int8_t* input = static_cast<int8_t*>(runtime.tensor(0).data);
  for (size_t i = 0; i < runtime.tensor(0).bytes; ++i) input[i] = static_cast<int8_t>(i * 11);
  for (int i = 0; i < 20; ++i) {
    if (!runtime.Invoke()) return {};
  }
  const int8_t* output = static_cast<const int8_t*>(runtime.tensor(3).data);
  return {output, output + runtime.tensor(3).bytes};
}

TEST(Threads, ShareANode) {
  Delegate alone{DelegateOptions()};
  const std::vector<int8_t> expected = RunLarge(&alone, -1);
  ASSERT_EQ(expected.size(), 60u * 60 * 6);
  EXPECT_EQ(alone.threads.helpers(), 0);
  Delegate recommended{DelegateOptions()};
  EXPECT_EQ(RunLarge(&recommended, 3), expected);
  EXPECT_EQ(recommended.threads.helpers(), 2);
  EXPECT_EQ(RunLarge(&recommended, 2), expected);
  EXPECT_EQ(recommended.threads.helpers(), 2);
  DelegateOptions options;
  options.threads = 2;  // outweighs what the interpreter recommends
  Delegate given{options};
  EXPECT_EQ(RunLarge(&given, 7), expected);
  EXPECT_EQ(given.threads.helpers(), 1);
}

TEST(Threads, OfOneDelegateServeSeveralInterpreters) {
  Delegate alone{DelegateOptions()}, shared{DelegateOptions()};
  const std::vector<int8_t> expected = RunLarge(&alone, 1);
  std::vector<int8_t> got[4];
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] { got[i] = RunLarge(&shared, 2 + i % 2); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : got) EXPECT_EQ(result, expected);
  EXPECT_EQ(shared.threads.helpers(), 2);
}

TEST(Threads, AreNotWokenForSmallLayers) {
  DelegateOptions options;
  options.threads = 4;
  Delegate delegate{options};
  EXPECT_FALSE(Work(&delegate, SomeConv, 1).empty());
  EXPECT_EQ(delegate.threads.helpers(), 0);
}

}  // namespace
}  // namespace accq
