// Nodes as a broken file would have them: valid ones of each kind, custom and built-in, of which
// some parts are changed at random. Each is refused, left alone, or prepared and run; a sanitizer
// watches over every byte that is touched.
#include <algorithm>
#include <limits>
#include <vector>

#include "delegate/delegate.h"
#include "kernels/op.h"
#include "tests/delegate/model_builder.h"
#include "tests/fuzz/fuzz.h"

namespace accq {
namespace {

Layer (*const kLayers[])() = {SomeConv,         SomeDepthwise,        SomeDense,
                              SomeTransposed,   SomeBuiltinConv,      SomeBuiltinDepthwise,
                              SomeBuiltinDense, SomeBuiltinTransposed};
const char* const kKeys[] = {"in_min",     "in_max",     "out_min",          "out_max",
                             "activation", "padding",    "stride_h",         "stride_w",
                             "dilation_h", "dilation_w", "depth_multiplier", "keep_num_dims",
                             "version"};
const float kScales[] = {0.0f,
                         0.05f,
                         2.0f,
                         -1.0f,
                         1e-40f,
                         1e-20f,
                         3e38f,
                         std::numeric_limits<float>::infinity(),
                         std::numeric_limits<float>::quiet_NaN()};
const int kDims[] = {0, -1, 1, 2, 3, 4, 5, 6, 7, 8, 12, 20, 40, 46341, INT32_MAX};

void ChangeTensor(Dice* dice, FakeRuntime::TensorSpec* tensor) {
  switch (dice->From(0, 7)) {
    case 0:
      tensor->type = static_cast<TfLiteType>(dice->From(0, 18));
      break;
    case 1:
      if (!tensor->dims.empty()) dice->Of(tensor->dims) = dice->Of(kDims);
      break;
    case 2:
      tensor->dims.resize(static_cast<size_t>(dice->From(0, 6)), 2);
      break;
    case 3:
      if (!tensor->scales.empty()) dice->Of(tensor->scales) = dice->Of(kScales);
      break;
    case 4:
      tensor->scales.resize(static_cast<size_t>(dice->From(0, 9)), 0.1f);
      tensor->zeros.resize(static_cast<size_t>(dice->From(0, 9)), 0);
      break;
    case 5:
      if (!tensor->zeros.empty()) dice->Of(tensor->zeros) = static_cast<int>(dice->From(-200, 200));
      break;
    case 6:
      tensor->constant.resize(static_cast<size_t>(dice->From(0, 300)));
      break;
    case 7:
      for (uint8_t& byte : tensor->constant) byte = static_cast<uint8_t>(dice->Bits());
      break;
  }
}

void Change(Dice* dice, Layer* layer) {
  switch (dice->From(0, 5)) {
    case 0: {
      const int64_t value = dice->Once(3) ? dice->Of(kDims) : dice->From(-2, 4);
      if (layer->builtin_code == 0) {
        layer->options[dice->Of(kKeys)] = value;
      } else {
        const auto number = static_cast<int32_t>(value);
        const size_t place =
            static_cast<size_t>(dice->From(0, static_cast<int64_t>(layer->blob.size() / 4) - 1));
        const bool bools = layer->builtin_code == kTfLiteBuiltinFullyConnected && place == 2;
        if (bools) {
          layer->blob[8] = value & 1;
          layer->blob[9] = value >> 1 & 1;
        } else {
          std::memcpy(layer->blob.data() + 4 * place, &number, 4);
        }
      }
      break;
    }
    case 1: {
      std::vector<int>& tensors = dice->Once(4) ? layer->outputs : layer->inputs;
      if (!tensors.empty()) dice->Of(tensors) = static_cast<int>(dice->From(-2, 6));
      break;
    }
    case 2:
      layer->inputs.resize(static_cast<size_t>(dice->From(0, 5)), 2);
      break;
    default: {
      FakeRuntime::TensorSpec* const tensors[] = {&layer->input, &layer->weights, &layer->bias,
                                                  &layer->output, &layer->shape};
      ChangeTensor(dice, dice->Of(tensors));
      break;
    }
  }
}

bool Allocatable(const TfLiteTensor& tensor) {
  int64_t elements = 1;
  for (int i = 0; i < tensor.dims->size; ++i) {
    const int dim = Data(tensor.dims)[i];
    if (dim < 0 || dim > 1 << 16 || elements > 1 << 16) return false;
    elements *= dim;
  }
  return elements <= 1 << 16;
}

bool Round(Dice* dice) {
  Layer layer = dice->Of(kLayers)();
  for (int64_t i = dice->From(0, 3); i > 0; --i) Change(dice, &layer);
  FakeRuntime runtime;
  runtime.pointer_floats = dice->Once(2);
  runtime.SetThreads(static_cast<int>(dice->From(-1, 2)));
  layer.AddTo(&runtime);
  DelegateOptions options;
  options.claim_builtin = true;
  const auto& table = KernelTable();
  if (dice->Once(2)) {
    const Kernel* kernel = dice->Of(table);
    options.kernel = kernel->supported_cpu() ? kernel->name : "reference";
  }
  Delegate delegate{options};
  const bool custom = layer.builtin_code == 0;
  const bool applied = runtime.Apply(&delegate.tflite);
  if (!applied && !custom) Fault("a built-in was refused: " + runtime.errors());
  if (delegate.status.nodes == 0) {
    // A custom node whose kernel can not be had says so when it is prepared.
    if (custom && applied && runtime.AllocateTensors()) Fault("a node without kernel is prepared");
    if (custom && runtime.errors().empty()) Fault("refused without a text");
    return false;
  }
  const int tensors = layer.shape.dims.empty() ? 4 : 5;
  for (int size = 0; size < 2; ++size) {
    // The fake runtime gives memory to whatever has a shape, used by the node or not.
    for (int i = 0; i < tensors; ++i) {
      if (!Allocatable(runtime.tensor(i))) return true;
    }
    const TfLiteIntArray* shape = runtime.tensor(0).dims;
    std::vector<int> dims(Data(shape), Data(shape) + shape->size);
    if (!runtime.AllocateTensors()) {
      if (runtime.errors().empty()) Fault("a shape was refused without a text");
      return true;
    }
    std::memset(runtime.tensor(0).data, static_cast<int>(dice->Bits() & 255),
                runtime.tensor(0).bytes);
    // An input that is a constant too small for its shape has no memory for it.
    if (!runtime.Invoke() && runtime.errors().empty()) Fault("a run was refused without a text");
    if (dims.empty()) break;
    dice->Of(dims) = static_cast<int>(dice->From(1, 9));
    runtime.SetDims(0, dims);
  }
  return true;
}

}  // namespace
}  // namespace accq

int main(int argc, char** argv) { return accq::FuzzMain(argc, argv, accq::Round); }
