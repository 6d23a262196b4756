#include "delegate/node_kernel.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "delegate/delegate.h"
#include "delegate/log.h"
#include "delegate/node_spec.h"
#include "delegate/report.h"
#include "delegate/text.h"

namespace accq {
namespace {

constexpr size_t kAlignment = 64;  // of scratch memory, as PackedOp wants it

struct NodeKernel {
  Delegate* delegate = nullptr;
  NodeSpec node;
  std::unique_ptr<PackedOp> op;
  std::string error;  // why there is no op

  // Since the last prepare.
  Shape4 input_shape;
  size_t input_bytes = 0, output_bytes = 0;
  int parts = 1;             // threads that share the work
  size_t part_scratch = 0;   // bytes of each, a multiple of the alignment
  size_t scratch_bytes = 0;  // of all
  int scratch_tensor = -1;   // added to the interpreter when first needed
};

// Frees and makes arrays as the runtime does: both sides own each other's.
TfLiteIntArray* NewIntArray(const std::vector<int32_t>& values) {
  void* memory = malloc(sizeof(TfLiteIntArray) + values.size() * sizeof(int));
  if (memory == nullptr) return nullptr;
  TfLiteIntArray* array = new (memory) TfLiteIntArray{static_cast<int>(values.size())};
  for (size_t i = 0; i < values.size(); ++i) Data(array)[i] = values[i];
  return array;
}

bool Fail(const NodeKernel& kernel, const std::string& what, std::string* error) {
  *error =
      Format("keras-accq: %s (node %d, output \"%s\"): %s", kernel.node.op_name, kernel.node.node,
             ShortName(kernel.node.output_name.c_str()).c_str(), what.c_str());
  return false;
}

void Create(TfLiteContext* context, int index, NodeKernel* kernel) {
  TfLiteNode* node = nullptr;
  TfLiteRegistration* registration = nullptr;
  if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk ||
      node == nullptr || registration == nullptr) {
    kernel->error = Format("keras-accq: the runtime gave no node %d", index);
    return;
  }
  if (!ReadNode(*context, index, *node, *registration, &kernel->node, &kernel->error)) return;
  std::string error;
  const DelegateOptions& options = kernel->delegate->options;
  const Kernel* choice = ChooseKernel(kernel->node.spec, options.kernel, &error);
  if (choice != nullptr) kernel->op = choice->create(kernel->node.spec, &error);
  if (kernel->op == nullptr) Fail(*kernel, error, &kernel->error);
}

// Below this a thread costs more than it brings: some microseconds of work.
constexpr double kMacsPerPart = 250e3;

void ChooseParts(const TfLiteContext& context, double macs, NodeKernel* kernel) {
  const int given = kernel->delegate->options.threads;
  const int threads =
      std::clamp(given > 0 ? given : context.recommended_num_threads, 1, kMaxThreads);
  kernel->parts = static_cast<int>(std::clamp(macs / kMacsPerPart, 1.0, 1.0 * threads));
  if (kernel->parts > 1) kernel->delegate->threads.Grow(threads);
}

// Asks the runtime for scratch memory: a temporary tensor, so that nodes share one arena.
bool RequestScratch(TfLiteContext* context, TfLiteNode* node, NodeKernel* kernel,
                    std::string* error) {
  const size_t needed = kernel->op->ScratchBytes(kernel->input_shape);
  std::vector<int32_t> temporaries;
  // Room to align the start and every part: the runtime promises less than we need.
  if (needed > INT32_MAX / kernel->parts - 2 * kAlignment) {
    return Fail(*kernel, "this input shape needs more than 2 GB of scratch memory", error);
  }
  kernel->part_scratch = (needed + kAlignment - 1) / kAlignment * kAlignment;
  kernel->scratch_bytes = kernel->part_scratch * kernel->parts;
  if (kernel->scratch_bytes > 0) {
    if (kernel->scratch_tensor < 0 &&
        context->AddTensors(context, 1, &kernel->scratch_tensor) != kTfLiteOk) {
      kernel->scratch_tensor = -1;
      return Fail(*kernel, "the runtime gave no temporary tensor", error);
    }
    TfLiteIntArray* dims = NewIntArray({static_cast<int32_t>(kernel->scratch_bytes + kAlignment)});
    if (dims == nullptr) return Fail(*kernel, "out of memory", error);
    TfLiteTensor* scratch = &context->tensors[kernel->scratch_tensor];
    scratch->type = kTfLiteInt8;
    scratch->allocation_type = kTfLiteArenaRw;
    if (context->ResizeTensor(context, scratch, dims) != kTfLiteOk) {
      return Fail(*kernel, "the runtime could not size the temporary tensor", error);
    }
    temporaries.push_back(kernel->scratch_tensor);
  }
  TfLiteIntArray* array = NewIntArray(temporaries);
  if (array == nullptr) return Fail(*kernel, "out of memory", error);
  free(node->temporaries);
  node->temporaries = array;
  return true;
}

bool ReportNode(const NodeKernel& kernel, const std::vector<int32_t>& input_dims,
                const std::vector<int32_t>& output_dims, std::string* error) {
  const DelegateOptions& options = kernel.delegate->options;
  if (options.report_path.empty() && !options.verbose) return true;
  const std::string line = ReportLine(kernel.node, input_dims, output_dims, kernel.op->Report(),
                                      kernel.scratch_bytes, kernel.parts);
  if (options.verbose) Log(line.substr(0, line.size() - 1));  // which ends the line itself
  return options.report_path.empty() || AppendToFile(options.report_path, line, error);
}

// The bytes of an int8 tensor of a shape that OutputShape has found to fit the address space.
size_t ByteCount(const std::vector<int32_t>& dims) {
  size_t bytes = 1;
  for (const int32_t dim : dims) bytes *= static_cast<size_t>(dim);
  return bytes;
}

bool PrepareNode(TfLiteContext* context, TfLiteNode* node, NodeKernel* kernel, std::string* error) {
  const TfLiteTensor& input = context->tensors[kernel->node.input];
  std::vector<int32_t> output_dims;
  if (!ReadShapes(kernel->node, input, &kernel->input_shape, &output_dims, error)) return false;
  const std::vector<int32_t> input_dims(Data(input.dims), Data(input.dims) + input.dims->size);
  kernel->input_bytes = ByteCount(input_dims);
  kernel->output_bytes = ByteCount(output_dims);

  TfLiteIntArray* dims = NewIntArray(output_dims);
  if (dims == nullptr) return Fail(*kernel, "out of memory", error);
  if (context->ResizeTensor(context, &context->tensors[kernel->node.output], dims) != kTfLiteOk) {
    return Fail(*kernel, "the runtime could not size the output tensor", error);
  }
  ChooseParts(*context, Macs(kernel->node.spec, input_dims, output_dims), kernel);
  return RequestScratch(context, node, kernel, error) &&
         ReportNode(*kernel, input_dims, output_dims, error);
}

// The tensor's data if it holds that many bytes, else null.
int8_t* Bytes(const TfLiteContext& context, int index, size_t bytes) {
  const TfLiteTensor& tensor = context.tensors[index];
  return tensor.bytes < bytes ? nullptr : static_cast<int8_t*>(tensor.data);
}

struct Invocation {
  const NodeKernel& kernel;
  const int8_t* input;
  int8_t* output;
  char* scratch;

  static void Part(void* invocation, int part) {
    const Invocation& self = *static_cast<Invocation*>(invocation);
    char* scratch =
        self.scratch == nullptr ? nullptr : self.scratch + part * self.kernel.part_scratch;
    self.kernel.op->RunPart(self.kernel.input_shape, self.input, self.output, scratch, part,
                            self.kernel.parts);
  }
};

bool InvokeNode(const TfLiteContext& context, const NodeKernel& kernel, std::string* error) {
  const int8_t* input = Bytes(context, kernel.node.input, kernel.input_bytes);
  int8_t* output = Bytes(context, kernel.node.output, kernel.output_bytes);
  void* scratch = nullptr;
  if (kernel.scratch_bytes > 0) {
    size_t space = kernel.scratch_bytes + kAlignment;
    scratch = Bytes(context, kernel.scratch_tensor, space);
    if (scratch != nullptr) std::align(kAlignment, kernel.scratch_bytes, scratch, space);
  }
  if (input == nullptr || output == nullptr || (kernel.scratch_bytes > 0 && scratch == nullptr)) {
    return Fail(kernel, "its tensors have no memory", error);
  }
  Invocation work{kernel, input, output, static_cast<char*>(scratch)};
  kernel.delegate->threads.Run(kernel.parts, Invocation::Part, &work);
  return true;
}

void Count(NodeKernel* kernel, int change) {
  kernel->delegate->status.nodes += change;
  if (kernel->node.builtin) kernel->delegate->status.builtin_nodes += change;
}

// The four functions of TfLiteRegistration.

void* InitKernel(TfLiteContext* context, const char* buffer, size_t) {
  // For a delegate's node, the buffer is this struct instead of bytes from the file.
  const TfLiteDelegateParams* params = reinterpret_cast<const TfLiteDelegateParams*>(buffer);
  NodeKernel* kernel = new (std::nothrow) NodeKernel();
  if (kernel == nullptr) return nullptr;
  kernel->delegate = DelegateOf(params->delegate);
  Create(context, Data(params->nodes_to_replace)[0], kernel);
  if (kernel->op != nullptr) Count(kernel, 1);
  return kernel;
}

void FreeKernel(TfLiteContext*, void* user_data) {
  NodeKernel* kernel = static_cast<NodeKernel*>(user_data);
  if (kernel == nullptr) return;
  if (kernel->op != nullptr) Count(kernel, -1);
  delete kernel;
}

TfLiteStatus PrepareKernel(TfLiteContext* context, TfLiteNode* node) {
  NodeKernel* kernel = static_cast<NodeKernel*>(node->user_data);
  std::string error = kernel == nullptr ? "keras-accq: out of memory" : kernel->error;
  if (error.empty() && PrepareNode(context, node, kernel, &error)) return kTfLiteOk;
  ReportError(context, error);
  return kTfLiteError;
}

TfLiteStatus InvokeKernel(TfLiteContext* context, TfLiteNode* node) {
  std::string error;
  if (InvokeNode(*context, *static_cast<NodeKernel*>(node->user_data), &error)) return kTfLiteOk;
  ReportError(context, error);
  return kTfLiteError;
}

}  // namespace

void ReportError(TfLiteContext* context, const std::string& text) {
  if (context->ReportError != nullptr) context->ReportError(context, "%s", text.c_str());
}

TfLiteRegistration NodeKernelRegistration(OpKind kind) {
  TfLiteRegistration registration = {};
  registration.init = InitKernel;
  registration.free = FreeKernel;
  registration.prepare = PrepareKernel;
  registration.invoke = InvokeKernel;
  // For profilers. Not the op's own name, which another delegate of ours would take for an op.
  switch (kind) {
    case OpKind::kConv2D:
      registration.custom_name = "AccqConv2D kernel";
      break;
    case OpKind::kDepthwiseConv2D:
      registration.custom_name = "AccqDepthwiseConv2D kernel";
      break;
    case OpKind::kFullyConnected:
      registration.custom_name = "AccqFullyConnected kernel";
      break;
    case OpKind::kTransposeConv:
      registration.custom_name = "AccqTransposeConv kernel";
      break;
  }
  return registration;
}

}  // namespace accq
