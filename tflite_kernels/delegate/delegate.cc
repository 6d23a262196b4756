#include "delegate/delegate.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "delegate/log.h"
#include "delegate/node_kernel.h"
#include "delegate/node_spec.h"
#include "delegate/text.h"

namespace accq {
namespace {

// A TfLiteIntArray of one element.
struct OneNode {
  TfLiteIntArray header{1};
  int node;
};

struct GraphNode {
  TfLiteNode* node = nullptr;
  TfLiteRegistration* registration = nullptr;
};

bool GetNode(TfLiteContext* context, int index, GraphNode* found, std::string* error) {
  if (context->GetNodeAndRegistration(context, index, &found->node, &found->registration) ==
          kTfLiteOk &&
      found->node != nullptr && found->registration != nullptr) {
    return true;
  }
  *error = Format("keras-accq: the runtime gave no node %d", index);
  return false;
}

// Built-in operators of a graph.
struct Builtins {
  int layers = 0;     // int8 layers of our kinds
  int claimed = 0;    // those that we take
  int elsewhere = 0;  // those that another delegate has taken
};

// Whether a built-in operator is better off with us. A kernel that the user forces is: the user
// says so.
bool Pays(const TfLiteContext& context, const NodeSpec& node, const DelegateOptions& options,
          std::string* error) {
  const Kernel* kernel = ChooseKernel(node.spec, options.kernel, error);
  if (kernel == nullptr) return false;
  if (!options.kernel.empty()) return true;
  Shape4 input;
  std::vector<int32_t> output_dims;
  if (!ReadShapes(node, context.tensors[node.input], &input, &output_dims, error)) return false;
  if (kernel->pays != nullptr && kernel->pays(node.spec, input)) return true;
  *error = Format("the kernel %s is not expected to be faster than the runtime's on this CPU",
                  kernel->name);
  return false;
}

void ConsiderBuiltin(const TfLiteContext& context, int index, const GraphNode& graph_node,
                     const DelegateOptions& options, Builtins* builtins,
                     std::vector<NodeSpec>* found) {
  if (!IsInt8Builtin(context, *graph_node.node, *graph_node.registration)) return;
  ++builtins->layers;
  NodeSpec node;
  std::string reason;
  if (ReadNode(context, index, *graph_node.node, *graph_node.registration, &node, &reason) &&
      Pays(context, node, options, &reason)) {
    ++builtins->claimed;
    found->push_back(std::move(node));
  } else if (options.verbose) {
    Log(Format("node %d is left alone: %s", index, reason.c_str()));
  }
}

// Counts the built-in layers that are no longer in the plan because another delegate has them. The
// nodes that it put there instead come after all those of the file.
bool CountElsewhere(TfLiteContext* context, std::vector<int> plan, Builtins* builtins,
                    std::string* error) {
  std::sort(plan.begin(), plan.end());
  for (int index = 0; !plan.empty() && index < plan.back(); ++index) {
    if (std::binary_search(plan.begin(), plan.end(), index)) continue;
    GraphNode node;
    if (!GetNode(context, index, &node, error)) return false;
    if (!IsInt8Builtin(*context, *node.node, *node.registration)) continue;
    ++builtins->layers;
    ++builtins->elsewhere;
  }
  return true;
}

// Checks every node of ours before any is replaced, so that a bad file leaves the graph as it was.
bool FindNodes(TfLiteContext* context, const DelegateOptions& options, std::vector<NodeSpec>* found,
               Builtins* builtins, std::string* error) {
  TfLiteIntArray* array = nullptr;
  if (context->GetExecutionPlan(context, &array) != kTfLiteOk || array == nullptr) {
    *error = "keras-accq: the runtime gave no execution plan";
    return false;
  }
  const std::vector<int> plan(Data(array), Data(array) + array->size);
  for (const int index : plan) {
    GraphNode node;
    if (!GetNode(context, index, &node, error)) return false;
    NodeSpec spec;
    if (IsAccqOp(*node.registration, &spec.spec.kind, &spec.op_name)) {
      if (!ReadNode(*context, index, *node.node, *node.registration, &spec, error)) return false;
      found->push_back(std::move(spec));
    } else if (options.claim_builtin) {
      ConsiderBuiltin(*context, index, node, options, builtins, found);
    }
  }
  return !options.claim_builtin || CountElsewhere(context, plan, builtins, error);
}

// On standard error: runtimes keep what ReportError is given until something fails, and Python's
// does not show it even then if the text came before.
void Tell(const Builtins& builtins, Delegate* delegate) {
  delegate->status.builtin_layers += builtins.layers;
  delegate->status.layers_elsewhere += builtins.elsewhere;
  if (builtins.elsewhere == 0 && !(delegate->options.verbose && builtins.layers > 0)) return;
  Log(Format("claimed %d of %d int8 layers; %d were already taken by another delegate%s",
             builtins.claimed, builtins.layers, builtins.elsewhere,
             builtins.elsewhere == 0 ? "" : ": give this one to the interpreter before it"));
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteDelegate* delegate) {
  std::vector<NodeSpec> found;
  Builtins builtins;
  std::string error;
  if (!FindNodes(context, DelegateOf(delegate)->options, &found, &builtins, &error)) {
    ReportError(context, error);
    return kTfLiteError;
  }
  for (const NodeSpec& spec : found) {
    // One call per node: inside a larger claimed partition, tensors between its nodes would have
    // no memory.
    OneNode node;
    node.node = spec.node;
    const TfLiteStatus status = context->ReplaceNodeSubsetsWithDelegateKernels(
        context, NodeKernelRegistration(spec.spec.kind), &node.header, delegate);
    if (status != kTfLiteOk) return status;
  }
  Tell(builtins, DelegateOf(delegate));
  return kTfLiteOk;
}

}  // namespace

Delegate::Delegate(const DelegateOptions& given) : status{}, tflite{}, options(given) {
  memcpy(status.magic, kStatusMagic, sizeof(status.magic));
  tflite.data = this;
  tflite.Prepare = Prepare;
  // Without this flag the runtime prepares the custom ops itself before it asks us, and fails.
  tflite.flags = kTfLiteDelegateFlagsAllowDynamicTensors;
}

}  // namespace accq
