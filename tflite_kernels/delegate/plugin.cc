// The two functions that runtimes look up in the library; everything else in it is hidden.
#include <new>
#include <string>

#include "delegate/delegate.h"
#include "delegate/delegate_options.h"
#include "delegate/log.h"

extern "C" {

// Makes a delegate from `count` options; null, and a text to `report_error`, when one of them is
// wrong. It is only called before this returns: Python frees it then. benchmark_model gives none,
// and goes on without a delegate: then the text goes to the log.
__attribute__((visibility("default"))) TfLiteDelegate* tflite_plugin_create_delegate(
    const char* const* keys, const char* const* values, size_t count,
    void (*report_error)(const char*)) {
  accq::DelegateOptions options;
  std::string error = "out of memory";
  if (accq::ParseDelegateOptions(keys, values, count, &options, &error)) {
    accq::Delegate* delegate = new (std::nothrow) accq::Delegate(options);
    if (delegate != nullptr) return &delegate->tflite;
  }
  if (report_error != nullptr) {
    report_error(("keras-accq: " + error).c_str());
  } else {
    accq::Log("no delegate was made: " + error);
  }
  return nullptr;
}

// Null is allowed: runtimes pass it on when creation failed.
__attribute__((visibility("default"))) void tflite_plugin_destroy_delegate(
    TfLiteDelegate* delegate) {
  if (delegate != nullptr) delete accq::DelegateOf(delegate);
}

}  // extern "C"
