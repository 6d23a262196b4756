// The delegate: what tflite_plugin_create_delegate returns.
#ifndef ACCQ_DELEGATE_DELEGATE_H_
#define ACCQ_DELEGATE_DELEGATE_H_

#include <atomic>
#include <cstdint>

#include "abi/tflite_abi.h"
#include "delegate/delegate_options.h"
#include "delegate/thread_pool.h"

namespace accq {

// What the delegate tells of itself, at the address that TfLiteDelegate.data holds. The layout is
// part of the interface: keras_accq/runtime.py reads it. Another layout needs another magic.
struct DelegateStatus {
  char magic[8];               // kStatusMagic
  std::atomic<int64_t> nodes;  // of all its interpreters: claimed and ready to run at this moment
  std::atomic<int64_t> builtin_nodes;  // built-in operators among them
  // int8 layers that were built-in operators of the graphs it was applied to, summed since it was
  // made; and those of them that another delegate had taken before. Counted with claim=builtin.
  std::atomic<int64_t> builtin_layers;
  std::atomic<int64_t> layers_elsewhere;
};
constexpr char kStatusMagic[] = "ACCQDLG2";
static_assert(sizeof(DelegateStatus) == 40 && sizeof(kStatusMagic) == 9,
              "read by keras_accq/runtime.py");

// One delegate may serve several interpreters in several threads: everything but the counts and
// the threads is constant once it is made.
struct Delegate {
  explicit Delegate(const DelegateOptions& options);

  DelegateStatus status;
  TfLiteDelegate tflite;
  const DelegateOptions options;
  ThreadPool threads;  // of all its interpreters; started when the first node wants them
};

inline Delegate* DelegateOf(TfLiteDelegate* delegate) {
  return static_cast<Delegate*>(delegate->data);
}

}  // namespace accq

#endif  // ACCQ_DELEGATE_DELEGATE_H_
