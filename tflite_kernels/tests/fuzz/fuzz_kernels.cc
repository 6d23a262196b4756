// Random layers of every kind: each kernel that takes one gives what the reference gives, whole
// and in parts.
#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/geometry.h"
#include "kernels/op.h"
#include "kernels/reference.h"
#include "tests/fuzz/fuzz.h"
#include "tests/problem.h"
#include "tests/run_op.h"

namespace accq {
namespace {

int32_t Small(Dice* dice, int32_t most) { return static_cast<int32_t>(dice->From(1, most)); }

Layer MakeLayer(Dice* dice) {
  Layer layer = {"random", static_cast<OpKind>(dice->From(0, 3)), {}, 1};
  const int32_t channels = Small(dice, dice->Once(4) ? 80 : 20);
  layer.input = {Small(dice, 2), Small(dice, 12), Small(dice, 12), channels};
  layer.out_channels = Small(dice, dice->Once(4) ? 70 : 20);
  if (layer.kind == OpKind::kFullyConnected) {
    layer.input.n = Small(dice, 9);
    layer.input.h = layer.input.w = 1;
    return layer;
  }
  layer.filter_h = Small(dice, 5);
  layer.filter_w = Small(dice, 5);
  layer.stride_h = Small(dice, 3);
  layer.stride_w = Small(dice, 3);
  layer.same_padding = dice->Once(2);
  if (layer.kind == OpKind::kTransposeConv) {
    if (layer.same_padding) {  // stock LiteRT leaves XNNPACK for smaller filters
      layer.filter_h = std::max(layer.filter_h, layer.stride_h);
      layer.filter_w = std::max(layer.filter_w, layer.stride_w);
    }
    return layer;
  }
  if (dice->Once(3)) {
    layer.dilation_h = Small(dice, 3);
    layer.dilation_w = Small(dice, 3);
  }
  if (layer.kind == OpKind::kDepthwiseConv2D) {
    layer.out_channels = layer.input.c * (dice->Once(3) ? Small(dice, 3) : 1);
  } else if (dice->Once(4)) {
    layer.groups = Small(dice, 4);
    layer.input.c = layer.groups * Small(dice, 9);
    layer.out_channels = layer.groups * Small(dice, 20);
  }
  if (!layer.same_padding) {
    layer.input.h = std::max(layer.input.h, (layer.filter_h - 1) * layer.dilation_h + 1);
    layer.input.w = std::max(layer.input.w, (layer.filter_w - 1) * layer.dilation_w + 1);
  }
  return layer;
}

OperandRange MakeRange(Dice* dice, bool pads) {
  if (dice->Once(2)) return {static_cast<int32_t>(dice->From(-128, 127)), -128, 127};
  if (dice->Once(3)) return {static_cast<int32_t>(dice->From(-8, 7)), -8, 7};
  const auto a = static_cast<int32_t>(dice->From(-128, 127));
  const auto b = static_cast<int32_t>(dice->From(-128, 127));
  const int32_t low = std::min(a, b), high = std::max(a, b);
  return {static_cast<int32_t>(pads ? dice->From(low, high) : dice->From(-128, 127)), low, high};
}

bool Round(Dice* dice) {
  const Layer layer = MakeLayer(dice);
  const bool pads = layer.same_padding || layer.kind == OpKind::kTransposeConv;
  const Problem problem(layer, dice->Of(AllWeights()), MakeRange(dice, pads), dice->Bits());
  std::string error;
  const auto reference = kReference.create(problem.spec, &error);
  if (reference == nullptr) Fault(error);
  const Inputs inputs[] = {Inputs::kRandom, Inputs::kLargest, Inputs::kLeast};
  const std::vector<int8_t> in = MakeInput(problem, dice->Of(inputs), dice->Bits());
  const std::vector<int8_t> expected = RunOp(*reference, problem.spec, problem.input, in);
  bool any = false;
  for (const Kernel* kernel : KernelTable()) {
    if (kernel == &kReference || !kernel->supported_cpu() || !kernel->handles(problem.spec)) {
      continue;
    }
    any = true;
    const auto op = kernel->create(problem.spec, &error);
    if (op == nullptr) Fault(error);
    for (const int parts : {1, static_cast<int>(dice->From(2, 9))}) {
      if (RunOp(*op, problem.spec, problem.input, in, parts) != expected) {
        Fault(std::string(kernel->name) + " in " + std::to_string(parts) +
              " parts differs from the reference");
      }
    }
  }
  return any;
}

}  // namespace
}  // namespace accq

int main(int argc, char** argv) { return accq::FuzzMain(argc, argv, accq::Round); }
