#include "delegate/delegate.h"

#include <cstring>
#include <string>
#include <vector>

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

// Checks every node of ours before any is replaced, so that a bad file leaves the graph as it was.
bool FindNodes(TfLiteContext* context, std::vector<NodeSpec>* found, std::string* error) {
  TfLiteIntArray* plan = nullptr;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk || plan == nullptr) {
    *error = "keras-accq: the runtime gave no execution plan";
    return false;
  }
  for (int i = 0; i < plan->size; ++i) {
    const int index = Data(plan)[i];
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk ||
        node == nullptr || registration == nullptr) {
      *error = Format("keras-accq: the runtime gave no node %d", index);
      return false;
    }
    NodeSpec spec;
    if (!IsAccqOp(*registration, &spec.spec.kind, &spec.op_name)) continue;
    if (!ReadNode(*context, index, *node, *registration, &spec, error)) return false;
    found->push_back(std::move(spec));
  }
  return true;
}

TfLiteStatus Prepare(TfLiteContext* context, TfLiteDelegate* delegate) {
  std::vector<NodeSpec> found;
  std::string error;
  if (!FindNodes(context, &found, &error)) {
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
