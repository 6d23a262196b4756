// A small runtime behind the real C interface: enough of TFLite's behaviour to apply a delegate,
// allocate, resize and invoke, with every block of memory of its exact size, so that a sanitizer
// sees any access outside.
#ifndef ACCQ_TESTS_DELEGATE_FAKE_RUNTIME_H_
#define ACCQ_TESTS_DELEGATE_FAKE_RUNTIME_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "abi/tflite_abi.h"

namespace accq {

class FakeRuntime {
 public:
  FakeRuntime();
  ~FakeRuntime();
  FakeRuntime(const FakeRuntime&) = delete;
  FakeRuntime& operator=(const FakeRuntime&) = delete;

  // How this runtime holds float arrays: {size, floats...} or, as newer ones, {pointer, size}.
  bool pointer_floats = false;
  bool has_report_error = true;

  struct TensorSpec {
    TfLiteType type = kTfLiteInt8;
    std::vector<int> dims;
    std::vector<float> scales;
    std::vector<int> zeros;
    int dimension = 0;
    std::vector<uint8_t> constant;  // not empty: a constant of these bytes
    std::string name = "tensor";
  };
  int AddTensor(const TensorSpec& spec);
  // The node is a custom op with these options.
  int AddNode(const std::string& op, std::vector<int> inputs, std::vector<int> outputs,
              const std::vector<uint8_t>& options);

  // The node is an operator of TFLite's with these options, its `builtin_data`.
  int AddBuiltin(int32_t code, std::vector<int> inputs, std::vector<int> outputs,
                 const std::vector<uint8_t>& options);
  void SetThreads(int threads) { context_.recommended_num_threads = threads; }

  TfLiteTensor& tensor(int index) { return tensors_[static_cast<size_t>(index)]; }
  TfLiteNode& node(int index);
  void SetDims(int tensor, const std::vector<int>& dims);

  bool Apply(TfLiteDelegate* delegate);
  bool AllocateTensors();  // prepares every node of the plan, then gives tensors memory
  bool Invoke();
  // Frees the delegate's nodes and puts the original plan back.
  void Undo();

  const std::string& errors() const { return errors_; }
  const std::vector<int>& plan() const { return plan_; }

 private:
  struct Node;

  static FakeRuntime* Of(TfLiteContext* context);
  static TfLiteStatus GetExecutionPlan(TfLiteContext* context, TfLiteIntArray** plan);
  static TfLiteStatus ResizeTensor(TfLiteContext* context, TfLiteTensor* tensor,
                                   TfLiteIntArray* dims);
  static void ReportError(TfLiteContext* context, const char* format, ...);
  static TfLiteStatus AddTensors(TfLiteContext* context, int count, int* first);
  static TfLiteStatus GetNode(TfLiteContext* context, int index, TfLiteNode** node,
                              TfLiteRegistration** registration);
  static TfLiteStatus Replace(TfLiteContext* context, TfLiteRegistration registration,
                              const TfLiteIntArray* nodes, TfLiteDelegate* delegate);

  TfLiteContext context_ = {};
  std::vector<TfLiteTensor> tensors_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<int> plan_, original_plan_;
  std::vector<void*> blocks_;                // everything malloc'ed that lives as long as this
  std::vector<std::pair<int, void*>> data_;  // tensor -> its memory
  TfLiteIntArray* plan_array_ = nullptr;
  std::string errors_;
};

}  // namespace accq

#endif  // ACCQ_TESTS_DELEGATE_FAKE_RUNTIME_H_
