// Every kernel of the dispatch table against the reference, byte for byte.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels/geometry.h"
#include "kernels/op.h"
#include "kernels/reference.h"
#include "tests/avx_vnni_twin.h"
#include "tests/layers.h"
#include "tests/problem.h"
#include "tests/run_op.h"

namespace accq {
namespace {

constexpr uint32_t kSeed = 20240611;

const std::vector<OperandRange>& Ranges() {
  static const std::vector<OperandRange> ranges = {
      {-128, -128, 127},              // after ReLU, 8 bits
      {3, -128, 127},                 // both signs, 8 bits
      {-8, -8, 7},                    // 4 bits, centred
      {-20, -31, 90},                 // asymmetric
      {10, 5, 90},                    // zero is not in the range
      {-128, -128, -100}, {7, 7, 7},  // a single value
  };
  return ranges;
}

struct Numbers {
  Weights weights;
  OperandRange range;
};

// Ordinary ones of the kind that a kernel is for.
Numbers NumbersFor(const Kernel& kernel) {
  if (std::string(kernel.name) == "neon_dot16") return {Weights::kFourBits, {-3, -8, 7}};
  return {Weights::kNormal, {3, -128, 127}};
}

const Layer& FindLayer(const std::string& name) {
  for (const auto* layers : {&NetworkLayers(), &CornerLayers()}) {
    for (const Layer& layer : *layers) {
      if (name == layer.name) return layer;
    }
  }
  ADD_FAILURE() << "there is no layer " << name;
  return NetworkLayers()[0];
}

std::unique_ptr<PackedOp> Create(const Kernel& kernel, const OpSpec& spec) {
  std::string error;
  std::unique_ptr<PackedOp> op = kernel.create(spec, &error);
  EXPECT_NE(op, nullptr) << error;
  return op;
}

std::string Describe(const Layer& layer, Weights weights, const OperandRange& range,
                     uint32_t seed) {
  return std::string(layer.name) + ", weights " + NameOf(weights) + ", operands [" +
         std::to_string(range.min) + ", " + std::to_string(range.max) + "] zero " +
         std::to_string(range.zero) + ", seed " + std::to_string(seed);
}

// False when the kernel does not take the layer.
bool ExpectSameAsReference(const Kernel& kernel, const Layer& layer, Weights weights,
                           const OperandRange& range, uint32_t seed) {
  const Problem problem(layer, weights, range, seed);
  if (!kernel.handles(problem.spec)) return false;
  const auto op = Create(kernel, problem.spec);
  const auto reference = Create(kReference, problem.spec);
  for (const Inputs kind : {Inputs::kRandom, Inputs::kLargest, Inputs::kLeast}) {
    const std::vector<int8_t> in = MakeInput(problem, kind, seed + 1);
    const bool same = RunOp(*op, problem.spec, problem.input, in) ==
                      RunOp(*reference, problem.spec, problem.input, in);
    EXPECT_TRUE(same) << Describe(layer, weights, range, seed) << ", inputs "
                      << static_cast<int>(kind);
    if (!same) break;
  }
  return true;
}

class KernelTest : public testing::TestWithParam<const Kernel*> {
 protected:
  void SetUp() override {
    if (!GetParam()->supported_cpu()) GTEST_SKIP() << "this CPU can not run it";
  }
};

// Emulators are slow: ACCQ_EVERY=3 runs every third case.
uint32_t CaseStep() {
  const char* every = std::getenv("ACCQ_EVERY");
  return every == nullptr ? 1 : std::max(1, std::atoi(every));
}

TEST_P(KernelTest, CornerLayersWithEveryRangeAndWeights) {
  const uint32_t step = CaseStep();
  uint32_t seed = kSeed;
  int taken = 0;
  for (const Layer& layer : CornerLayers()) {
    for (const OperandRange& range : Ranges()) {
      for (const Weights weights : AllWeights()) {
        if (++seed % step != 0) continue;
        taken += ExpectSameAsReference(*GetParam(), layer, weights, range, seed);
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_TRUE(taken > 0 || step > 1);
}

// A phase's worst case, which its schedule must take, is less than the whole filter's, for which
// it must not be spilled: one channel's phases fill int16 to the brim, together they are over it.
TEST_P(KernelTest, SchedulesEveryPhaseOfATransposedConvolutionByItself) {
  const Layer layer = {"full phases", OpKind::kTransposeConv, {1, 4, 4, 2}, 1, 4, 4, 2, 2};
  Problem problem(layer, Weights::kAll127, {0, -127, 127}, kSeed);
  if (!GetParam()->handles(problem.spec)) return;
  // 8 weights in each phase, so 32 in each of the four: 127 * 8 * 32 = 32512.
  std::fill(problem.weights.begin(), problem.weights.end(), int8_t{32});
  problem.bias[0] = 0;
  problem.spec.multiplier[0] = 1.0f / 256;
  const auto op = Create(*GetParam(), problem.spec);
  const OpReport report = op->Report();
  EXPECT_EQ(report.spills, report.steps > 0 ? 4 : 0);  // the last of each phase
  const auto reference = Create(kReference, problem.spec);
  for (const Inputs kind : {Inputs::kLargest, Inputs::kLeast}) {
    const std::vector<int8_t> in = MakeInput(problem, kind, 1);
    const std::vector<int8_t> out = RunOp(*op, problem.spec, problem.input, in);
    EXPECT_EQ(out, RunOp(*reference, problem.spec, problem.input, in));
    const int expected = problem.spec.out_zero + (kind == Inputs::kLargest ? 127 : -127);
    EXPECT_EQ(out[55], std::min(std::max(expected, -120), 119));  // row 5 of 10, column 5
  }
}

// Equal weights reach exactly the limit and one at the end of a step: 2^15, 32 * 8 * 128 of shifted
// operands and 32 * 16 * 64 of stored ones; or of 8-bit sums 2^7, 4 * 4 * 8. A kernel that sums one
// step too many is then wrong by 2^16 or 2^8.
TEST_P(KernelTest, WidensBeforeASumIsOneUnitTooLarge) {
  const bool bytes = std::string(GetParam()->name) == "neon_dot16";
  const int weight = bytes ? 4 : 32, operand = bytes ? 8 : 64;
  int taken = 0;
  for (const auto& [layer, multiplier] : std::vector<std::pair<Layer, float>>{
           {{"brim", OpKind::kConv2D, {1, 3, 3, 16}, 5, 3, 3}, bytes ? 1.0f / 64 : 1.0f / 4096},
           {{"brim_dw", OpKind::kDepthwiseConv2D, {1, 5, 5, 7}, 7, 5, 5}, 1.0f / 512}}) {
    Problem problem(layer, Weights::kFourBits, {0, -operand, operand}, kSeed);
    std::fill(problem.weights.begin(), problem.weights.end(), static_cast<int8_t>(weight));
    if (!GetParam()->handles(problem.spec)) continue;
    ++taken;
    std::fill(problem.bias.begin(), problem.bias.end(), 0);
    for (float& each : problem.spec.multiplier) each = multiplier;
    problem.spec.out_zero = 0;
    const auto op = Create(*GetParam(), problem.spec);
    for (const int value : {operand, -operand}) {
      const std::vector<int8_t> in(layer.input.h * layer.input.w * layer.input.c, value);
      const auto expected = static_cast<int8_t>(
          std::lround(1.0f * weight * value * ProductsPerOutput(problem.spec) * multiplier));
      EXPECT_EQ(RunOp(*op, problem.spec, problem.input, in),
                std::vector<int8_t>(layer.out_channels, expected))
          << layer.name << ", inputs " << value;
    }
  }
  EXPECT_GT(taken, 0);
}

// The products of an output all in one lane of 16 bits, which they fill to the brim.
TEST_P(KernelTest, FillsALaneOf16Bits) {
  const Layer layer = {"one lane", OpKind::kFullyConnected, {1, 1, 1, 16 * 261}, 4};
  Problem problem(layer, Weights::kFourBits, {0, -1, 1}, kSeed);
  std::fill(problem.weights.begin(), problem.weights.end(), int8_t{0});
  for (int c = 0; c < 4; ++c) {
    int8_t* const weights = problem.weights.data() + c * layer.input.c;
    for (int step = 0; step < 260; ++step) weights[16 * step] = weights[16 * step + 1] = 63;
    weights[16 * 260] = 7;  // 126 * 260 + 7 = 32767
    problem.bias[c] = 0;
    problem.spec.multiplier[c] = 1.0f / 512;
  }
  problem.spec.out_zero = 0;
  if (!GetParam()->handles(problem.spec)) return;
  const auto op = Create(*GetParam(), problem.spec);
  for (const int value : {1, -1}) {
    const std::vector<int8_t> in(layer.input.c, static_cast<int8_t>(value));
    EXPECT_EQ(RunOp(*op, problem.spec, problem.input, in),
              std::vector<int8_t>(4, static_cast<int8_t>(64 * value)));
  }
  problem.weights[16 * 260 + 1] = 1;  // of the first channel, whose lane would wrap
  EXPECT_EQ(GetParam()->handles(problem.spec), std::string(GetParam()->name) != "neon_dot16");
}

TEST_P(KernelTest, NetworkLayers) {
  const Numbers numbers = NumbersFor(*GetParam());
  uint32_t seed = kSeed;
  int taken = 0;
  for (const Layer& layer : NetworkLayers()) {
    for (const Weights weights : {numbers.weights, Weights::kConstrained}) {
      if (++seed % CaseStep() != 0) continue;
      taken += ExpectSameAsReference(*GetParam(), layer, weights, numbers.range, seed);
      if (HasFailure()) return;
    }
  }
  EXPECT_TRUE(taken > 0 || CaseStep() > 1);
}

// Sums beyond 2^24 are rounded when they become floats, and so are the products.
TEST_P(KernelTest, RoundsLikeTheContract) {
  for (const OpKind kind : {OpKind::kConv2D, OpKind::kDepthwiseConv2D}) {
    const Layer layer = {"identity", kind, {1, 16, 16, 1}, 1};
    for (const auto& [bias, multiplier] :
         std::vector<std::pair<int32_t, float>>{{0, 0.5f},
                                                {0, 0.25f},
                                                {0, 255.99998f},
                                                {0, 0.49999997f},
                                                {(1 << 24) + 1, 3.0f / (1 << 20)},
                                                {-(1 << 30) - 77, 1e-7f},
                                                {INT32_MAX - 40000, 4.6e-8f},
                                                {INT32_MIN + 40000, 255.0f}}) {
      const OperandRange range = NumbersFor(*GetParam()).range;
      Problem problem(layer, Weights::kAll7, {0, range.min, range.max}, kSeed);
      problem.weights[0] = 1;
      if (!GetParam()->handles(problem.spec)) continue;
      problem.bias[0] = bias;
      problem.spec.multiplier[0] = multiplier;
      problem.spec.out_min = -128;
      problem.spec.out_max = 127;
      std::vector<int8_t> in(256);
      for (int i = 0; i < 256; ++i) in[i] = static_cast<int8_t>(i - 128);
      EXPECT_EQ(RunOp(*Create(*GetParam(), problem.spec), problem.spec, problem.input, in),
                RunOp(*Create(kReference, problem.spec), problem.spec, problem.input, in))
          << bias << " " << multiplier;
    }
  }
}

TEST_P(KernelTest, RunsOneOperatorOnSeveralSizesAndThreads) {
  const Numbers numbers = NumbersFor(*GetParam());
  for (const Layer& layer :
       {FindLayer("resnet8_conv3x3s2_16_32_32x32"), FindLayer("mobilenet_dw3x3_64_24x24"),
        FindLayer("groups_blocks"), FindLayer("transposed_valid")}) {
    Problem problem(layer, numbers.weights, numbers.range, kSeed);
    if (!GetParam()->handles(problem.spec)) continue;
    const auto op = Create(*GetParam(), problem.spec);
    const auto reference = Create(kReference, problem.spec);
    std::vector<std::thread> threads;
    std::vector<std::vector<int8_t>> results(4), expected(4);
    for (int t = 0; t < 4; ++t) {
      problem.input = {t % 2 + 1, 3 + 5 * t, 30 - 7 * t, layer.input.c};
      if (layer.kind == OpKind::kTransposeConv) problem.input = layer.input;  // as the file says
      const std::vector<int8_t> in = MakeInput(problem, Inputs::kRandom, t);
      expected[t] = RunOp(*reference, problem.spec, problem.input, in);
      threads.emplace_back(
          [&, t, in, input = problem.input] { results[t] = RunOp(*op, problem.spec, input, in); });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(results, expected) << layer.name;
  }
}

// Each part writes outputs of its own, so whatever runs together or first, the whole is the same.
TEST_P(KernelTest, PartsMakeTheWhole) {
  const Numbers numbers = NumbersFor(*GetParam());
  for (const auto* layers : {&NetworkLayers(), &CornerLayers()}) {
    for (const Layer& layer : *layers) {
      const Problem problem(layer, numbers.weights, numbers.range, kSeed);
      if (!GetParam()->handles(problem.spec)) continue;
      const auto op = Create(*GetParam(), problem.spec);
      const std::vector<int8_t> in = MakeInput(problem, Inputs::kRandom, 5);
      const std::vector<int8_t> whole = RunOp(*op, problem.spec, problem.input, in);
      for (const int parts : {2, 3, 16}) {
        ASSERT_EQ(RunOp(*op, problem.spec, problem.input, in, parts), whole)
            << layer.name << " in " << parts << " parts";
      }
    }
  }
}

TEST_P(KernelTest, PartsRunInThreadsAtOnce) {
  const Numbers numbers = NumbersFor(*GetParam());
  for (const char* name : {"resnet8_conv3x3_64_64_8x8", "fc_33_65", "dw_33", "transposed_same",
                           "transposed_one_phase_empty"}) {
    const Problem problem(FindLayer(name), numbers.weights, numbers.range, kSeed);
    if (!GetParam()->handles(problem.spec)) continue;
    const auto op = Create(*GetParam(), problem.spec);
    const std::vector<int8_t> in = MakeInput(problem, Inputs::kRandom, 5);
    const std::vector<int8_t> whole = RunOp(*op, problem.spec, problem.input, in);
    std::vector<int8_t> got(whole.size(), 0x5A);
    std::vector<std::thread> threads;
    for (int part = 0; part < 4; ++part) {
      threads.emplace_back([&, part] {
        void* scratch = nullptr;
        ASSERT_EQ(posix_memalign(&scratch, 64, op->ScratchBytes(problem.input)), 0);
        op->RunPart(problem.input, in.data(), got.data(), scratch, part, 4);
        std::free(scratch);
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(got, whole) << name;
  }
}

TEST_P(KernelTest, CopiesTheSpecsArrays) {
  const Numbers numbers = NumbersFor(*GetParam());
  for (const char* name : {"stride_2_odd", "dw_33", "fc_33_65", "transposed_same"}) {
    Problem problem(FindLayer(name), numbers.weights, numbers.range, kSeed);
    if (!GetParam()->handles(problem.spec)) continue;
    const auto op = Create(*GetParam(), problem.spec);
    const std::vector<int8_t> in = MakeInput(problem, Inputs::kRandom, 1);
    const std::vector<int8_t> before = RunOp(*op, problem.spec, problem.input, in);
    std::fill(problem.weights.begin(), problem.weights.end(), int8_t{1});
    std::fill(problem.bias.begin(), problem.bias.end(), 1);
    EXPECT_EQ(RunOp(*op, problem.spec, problem.input, in), before);
  }
}

TEST_P(KernelTest, SaysSoWhenScratchWouldOverflow) {
  const Layer layer = {"tall", OpKind::kConv2D, {1, 3, 1, 4}, 4, 3, 1};
  const Numbers numbers = NumbersFor(*GetParam());
  const Problem problem(layer, numbers.weights, numbers.range, kSeed);
  const auto op = Create(*GetParam(), problem.spec);
  if (op->ScratchBytes(problem.input) == 0) return;  // needs none
  EXPECT_EQ(op->ScratchBytes({1, 3, INT32_MAX, 4}), SIZE_MAX);
}

// Strips of the input pass through scratch memory, never the whole of it, let alone its windows.
TEST_P(KernelTest, ScratchDoesNotGrowWithTheImage) {
  for (const OpKind kind : {OpKind::kConv2D, OpKind::kDepthwiseConv2D}) {
    const Layer layer = {"tall", kind, {1, 8, 32, 64}, 64, 3, 3, 1, 1, 1, 1, true};
    const Numbers numbers = NumbersFor(*GetParam());
    const Problem problem(layer, numbers.weights, numbers.range, kSeed);
    if (!GetParam()->handles(problem.spec)) continue;
    const auto op = Create(*GetParam(), problem.spec);
    const size_t some = op->ScratchBytes({1, 1000, 32, 64});
    EXPECT_LE(some, 400'000u);                                        // the input is 2 MB
    EXPECT_LE(op->ScratchBytes({7, 9000, 32, 64}), some + some / 8);  // rows divide otherwise
  }
}

// All but the reference, which would be compared with itself.
std::vector<const Kernel*> FastKernels() {
  std::vector<const Kernel*> kernels = KernelTable();
  EXPECT_EQ(kernels.back(), &kReference);
  kernels.pop_back();
#ifdef ACCQ_VNNI
  kernels.push_back(&kAvxVnniTwin);
#endif
  return kernels;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KernelTest);
INSTANTIATE_TEST_SUITE_P(All, KernelTest, testing::ValuesIn(FastKernels()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(ReferenceTest, PartsMakeTheWhole) {
  for (const Layer& layer : CornerLayers()) {
    const Problem problem(layer, Weights::kNormal, Ranges()[1], kSeed);
    const auto op = Create(kReference, problem.spec);
    const std::vector<int8_t> in = MakeInput(problem, Inputs::kRandom, 5);
    const std::vector<int8_t> whole = RunOp(*op, problem.spec, problem.input, in);
    ASSERT_EQ(RunOp(*op, problem.spec, problem.input, in, 3), whole) << layer.name;
  }
}

TEST(DispatchTest, TakesTheFirstKernelOrTheForcedOne) {
  OpSpec spec;
  std::string error;
  EXPECT_NE(ChooseKernel(spec, "", &error), nullptr);
  EXPECT_EQ(ChooseKernel(spec, "reference", &error), &kReference);
  EXPECT_EQ(ChooseKernel(spec, "no such", &error), nullptr);
  EXPECT_EQ(error.rfind("there is no kernel 'no such'; expected one of: ", 0), 0u) << error;
  EXPECT_NE(error.find("reference"), std::string::npos) << error;
  for (const Kernel* kernel : KernelTable()) {
    if (kernel->handles(spec)) continue;
    EXPECT_EQ(ChooseKernel(spec, kernel->name, &error), nullptr);
  }
}

}  // namespace
}  // namespace accq
