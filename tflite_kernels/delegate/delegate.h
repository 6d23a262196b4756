// The delegate: what tflite_plugin_create_delegate returns.
#ifndef ACCQ_DELEGATE_DELEGATE_H_
#define ACCQ_DELEGATE_DELEGATE_H_

#include <atomic>
#include <cstdint>

#include "abi/tflite_abi.h"
#include "delegate/delegate_options.h"

namespace accq {

// What the delegate tells of itself, at the address that TfLiteDelegate.data holds. The layout is
// part of the interface: keras_accq/runtime.py reads it, so it changes only with kStatusMagic.
struct DelegateStatus {
  uint64_t magic;
  std::atomic<int64_t> nodes;  // of all interpreters, taken and ready to run at this moment
};
constexpr uint64_t kStatusMagic = 0x3151434341000001;  // "\1\0\0ACCQ1"
static_assert(sizeof(DelegateStatus) == 16, "read by keras_accq/runtime.py");

// One delegate may serve several interpreters in several threads: everything but the count is
// constant once it is made.
struct Delegate {
  explicit Delegate(const DelegateOptions& options);

  DelegateStatus status;
  TfLiteDelegate tflite;
  const DelegateOptions options;
};

inline Delegate* DelegateOf(TfLiteDelegate* delegate) {
  return static_cast<Delegate*>(delegate->data);
}

}  // namespace accq

#endif  // ACCQ_DELEGATE_DELEGATE_H_
