#include "tests/delegate/fake_runtime.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace accq {
namespace {

TfLiteIntArray* IntArray(const std::vector<int>& values) {
  auto* array =
      static_cast<TfLiteIntArray*>(malloc(sizeof(TfLiteIntArray) + values.size() * sizeof(int)));
  array->size = static_cast<int>(values.size());
  if (!values.empty()) memcpy(Data(array), values.data(), values.size() * sizeof(int));
  return array;
}

// Counts like the real one: a shape that overflows has no bytes.
bool ByteCount(const TfLiteTensor& tensor, size_t* bytes) {
  *bytes = tensor.type == kTfLiteInt32 ? 4 : 1;
  for (int i = 0; i < tensor.dims->size; ++i) {
    if (__builtin_mul_overflow(*bytes, static_cast<size_t>(Data(tensor.dims)[i]), bytes)) {
      return false;
    }
  }
  return true;
}

}  // namespace

struct FakeRuntime::Node {
  TfLiteNode node = {};
  TfLiteRegistration registration = {};
  TfLiteDelegateParams params = {};
  std::string name;
  std::vector<uint8_t> options;
};

TfLiteNode& FakeRuntime::node(int index) { return nodes_[static_cast<size_t>(index)]->node; }

FakeRuntime::FakeRuntime() {
  context_.recommended_num_threads = -1;
  context_.impl = this;
  context_.GetExecutionPlan = GetExecutionPlan;
  context_.ResizeTensor = ResizeTensor;
  context_.AddTensors = AddTensors;
  context_.GetNodeAndRegistration = GetNode;
  context_.ReplaceNodeSubsetsWithDelegateKernels = Replace;
}

FakeRuntime::~FakeRuntime() {
  Undo();
  for (auto& node : nodes_) {
    free(node->node.inputs);
    free(node->node.outputs);
    free(node->node.temporaries);
  }
  for (TfLiteTensor& tensor : tensors_) free(tensor.dims);
  for (auto& data : data_) free(data.second);
  for (void* block : blocks_) free(block);
  free(plan_array_);
}

FakeRuntime* FakeRuntime::Of(TfLiteContext* context) {
  return static_cast<FakeRuntime*>(context->impl);
}

int FakeRuntime::AddTensor(const TensorSpec& spec) {
  const auto keep = [&](void* block) {
    blocks_.push_back(block);
    return block;
  };
  TfLiteTensor tensor = {};
  tensor.type = spec.type;
  tensor.dims = IntArray(spec.dims);
  char* name = static_cast<char*>(keep(malloc(spec.name.size() + 1)));
  memcpy(name, spec.name.c_str(), spec.name.size() + 1);
  tensor.name = name;
  tensor.allocation_type = kTfLiteArenaRw;
  if (!spec.constant.empty()) {
    tensor.allocation_type = kTfLiteMmapRo;
    tensor.bytes = spec.constant.size();
    tensor.data = keep(malloc(tensor.bytes));
    memcpy(tensor.data, spec.constant.data(), tensor.bytes);
  }
  if (!spec.scales.empty()) {
    const size_t bytes = spec.scales.size() * sizeof(float);
    const int size = static_cast<int>(spec.scales.size());
    auto* affine =
        static_cast<TfLiteAffineQuantization*>(keep(malloc(sizeof(TfLiteAffineQuantization))));
    if (pointer_floats) {
      struct PointerArray {
        float* data;
        int size;
        bool owning;
      };
      auto* array = static_cast<PointerArray*>(keep(malloc(sizeof(PointerArray))));
      array->data = static_cast<float*>(keep(malloc(bytes)));
      memcpy(array->data, spec.scales.data(), bytes);
      array->size = size;
      array->owning = true;
      affine->scale = reinterpret_cast<TfLiteFloatArray*>(array);
    } else {
      auto* array = static_cast<char*>(keep(malloc(sizeof(int) + bytes)));
      memcpy(array, &size, sizeof(int));
      memcpy(array + sizeof(int), spec.scales.data(), bytes);
      affine->scale = reinterpret_cast<TfLiteFloatArray*>(array);
    }
    affine->zero_point = static_cast<TfLiteIntArray*>(keep(IntArray(spec.zeros)));
    affine->quantized_dimension = spec.dimension;
    tensor.quantization = {kTfLiteAffineQuantization, affine};
    if (spec.scales.size() == 1 && spec.zeros.size() == 1) {
      tensor.params = {spec.scales[0], spec.zeros[0]};
    }
  }
  tensors_.push_back(tensor);
  context_.tensors = tensors_.data();
  context_.tensors_size = tensors_.size();
  return static_cast<int>(tensors_.size()) - 1;
}

int FakeRuntime::AddNode(const std::string& op, std::vector<int> inputs, std::vector<int> outputs,
                         const std::vector<uint8_t>& options) {
  nodes_.push_back(std::make_unique<Node>());
  Node& node = *nodes_.back();
  node.name = op;
  node.registration.custom_name = node.name.c_str();
  node.registration.builtin_code = 32;
  node.node.inputs = IntArray(inputs);
  node.node.outputs = IntArray(outputs);
  void* blob = malloc(options.size());  // its own block: reading beyond it is seen
  memcpy(blob, options.data(), options.size());
  blocks_.push_back(blob);
  node.node.custom_initial_data = blob;
  node.node.custom_initial_data_size = static_cast<int>(options.size());
  plan_.push_back(static_cast<int>(nodes_.size()) - 1);
  return plan_.back();
}

int FakeRuntime::AddBuiltin(int32_t code, std::vector<int> inputs, std::vector<int> outputs,
                            const std::vector<uint8_t>& options) {
  const int index = AddNode("", inputs, outputs, options);
  Node& added = *nodes_[static_cast<size_t>(index)];
  added.registration.custom_name = nullptr;
  added.registration.builtin_code = code;
  added.node.builtin_data = const_cast<void*>(added.node.custom_initial_data);
  added.node.custom_initial_data = nullptr;
  added.node.custom_initial_data_size = 0;
  return index;
}

void FakeRuntime::SetDims(int index, const std::vector<int>& dims) {
  free(tensor(index).dims);
  tensor(index).dims = IntArray(dims);
}

bool FakeRuntime::Apply(TfLiteDelegate* delegate) {
  context_.ReportError = has_report_error ? ReportError : nullptr;
  original_plan_ = plan_;
  if (delegate->Prepare(&context_, delegate) == kTfLiteOk) return true;
  Undo();
  return false;
}

bool FakeRuntime::AllocateTensors() {
  for (const int index : plan_) {
    Node& node = *nodes_[static_cast<size_t>(index)];
    if (node.registration.prepare == nullptr) {
      errors_ += "Encountered unresolved custom op: " + node.name;
      return false;
    }
    if (node.registration.prepare(&context_, &node.node) != kTfLiteOk) return false;
  }
  for (auto& data : data_) free(data.second);
  data_.clear();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    TfLiteTensor& tensor = tensors_[i];
    if (tensor.allocation_type != kTfLiteArenaRw || !ByteCount(tensor, &tensor.bytes)) continue;
    tensor.data = malloc(tensor.bytes);
    data_.emplace_back(static_cast<int>(i), tensor.data);
  }
  return true;
}

bool FakeRuntime::Invoke() {
  for (const int index : plan_) {
    Node& node = *nodes_[static_cast<size_t>(index)];
    if (node.registration.invoke(&context_, &node.node) != kTfLiteOk) return false;
  }
  return true;
}

void FakeRuntime::Undo() {
  for (auto& node : nodes_) {
    if (node->registration.free == nullptr) continue;
    node->registration.free(&context_, node->node.user_data);
    node->registration.free = nullptr;
    node->registration.prepare = nullptr;
  }
  if (!original_plan_.empty()) plan_ = original_plan_;
}

TfLiteStatus FakeRuntime::GetExecutionPlan(TfLiteContext* context, TfLiteIntArray** plan) {
  FakeRuntime* self = Of(context);
  free(self->plan_array_);  // as in the real one, an earlier answer is void
  self->plan_array_ = *plan = IntArray(self->plan_);
  return kTfLiteOk;
}

TfLiteStatus FakeRuntime::ResizeTensor(TfLiteContext* context, TfLiteTensor* tensor,
                                       TfLiteIntArray* dims) {
  if (tensor->allocation_type != kTfLiteArenaRw) {
    ReportError(context, "%s", "Attempting to resize a fixed-size tensor.");
    free(dims);
    return kTfLiteError;
  }
  free(tensor->dims);
  tensor->dims = dims;
  tensor->data = nullptr;
  return ByteCount(*tensor, &tensor->bytes) ? kTfLiteOk : kTfLiteError;
}

void FakeRuntime::ReportError(TfLiteContext* context, const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  Of(context)->errors_ += text;
}

TfLiteStatus FakeRuntime::AddTensors(TfLiteContext* context, int count, int* first) {
  FakeRuntime* self = Of(context);
  *first = static_cast<int>(self->tensors_.size());
  // A new block each time: whoever kept a pointer into the old one is found out.
  std::vector<TfLiteTensor> moved = self->tensors_;
  for (int i = 0; i < count; ++i) {
    TfLiteTensor tensor = {};
    tensor.dims = IntArray({});
    moved.push_back(tensor);
  }
  self->tensors_ = std::move(moved);
  context->tensors = self->tensors_.data();
  context->tensors_size = self->tensors_.size();
  return kTfLiteOk;
}

TfLiteStatus FakeRuntime::GetNode(TfLiteContext* context, int index, TfLiteNode** node,
                                  TfLiteRegistration** registration) {
  Node& found = *Of(context)->nodes_[static_cast<size_t>(index)];
  *node = &found.node;
  *registration = &found.registration;
  return kTfLiteOk;
}

TfLiteStatus FakeRuntime::Replace(TfLiteContext* context, TfLiteRegistration registration,
                                  const TfLiteIntArray* nodes, TfLiteDelegate* delegate) {
  FakeRuntime* self = Of(context);
  if (nodes->size != 1) return kTfLiteError;
  const int old = Data(nodes)[0];
  self->nodes_.push_back(std::make_unique<Node>());
  const int index = static_cast<int>(self->nodes_.size()) - 1;
  Node& node = *self->nodes_.back();
  node.registration = registration;
  node.name = registration.custom_name;
  TfLiteNode& replaced = self->node(old);
  TfLiteIntArray* list = IntArray({old});
  self->blocks_.push_back(list);
  node.params = {delegate, list, replaced.inputs, replaced.outputs};
  node.node.temporaries = IntArray({});
  for (int& entry : self->plan_) {
    if (entry == old) entry = index;
  }
  node.node.user_data = registration.init(context, reinterpret_cast<const char*>(&node.params), 0);
  return kTfLiteOk;
}

}  // namespace accq
