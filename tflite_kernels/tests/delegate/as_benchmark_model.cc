// A delegate that loads another as TensorFlow's benchmark_model does, for the Python tests: they
// give it to a real interpreter, which then meets the delegate behind the same wrapper as there.
//
// Options: "path", the library, and "options", what --external_delegate_options would be.
#include <dlfcn.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "abi/tflite_abi.h"

namespace {

using Create = TfLiteDelegate* (*)(const char* const*, const char* const*, size_t,
                                   void (*)(const char*));
using Destroy = void (*)(TfLiteDelegate*);

// The pieces between separators. Like std::getline: no piece after a separator at the end.
std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> pieces;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = text.find(separator, begin);
    pieces.push_back(text.substr(begin, end == std::string::npos ? end : end - begin));
    begin = end == std::string::npos ? text.size() : end + 1;
  }
  return pieces;
}

struct Wrapper {
  TfLiteDelegate tflite = {};
  TfLiteDelegate* wrapped = nullptr;
  Destroy destroy = nullptr;
};

TfLiteStatus Prepare(TfLiteContext* context, TfLiteDelegate* delegate) {
  TfLiteDelegate* wrapped = static_cast<Wrapper*>(delegate->data)->wrapped;
  return wrapped->Prepare(context, wrapped);
}

TfLiteDelegate* Load(const std::string& path, const std::string& text, std::string* error) {
  void* library = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    *error = dlerror();
    return nullptr;
  }
  const Create create = reinterpret_cast<Create>(dlsym(library, "tflite_plugin_create_delegate"));
  auto wrapper = std::make_unique<Wrapper>();
  wrapper->destroy = reinterpret_cast<Destroy>(dlsym(library, "tflite_plugin_destroy_delegate"));
  if (create == nullptr || wrapper->destroy == nullptr) {
    *error = "the library has not both symbols";
    return nullptr;
  }

  std::vector<std::string> words;  // name, value, name, value, ...
  for (const std::string& pair : Split(text, ';')) {
    const std::vector<std::string> parts = Split(pair, ':');
    if (parts.size() == 2) words.insert(words.end(), parts.begin(), parts.end());
  }
  std::vector<const char*> keys, values;
  for (size_t i = 0; i < words.size(); i += 2) {
    keys.push_back(words[i].c_str());
    values.push_back(words[i + 1].c_str());
  }
  wrapper->wrapped = create(keys.data(), values.data(), keys.size(), nullptr);
  if (wrapper->wrapped == nullptr) {
    *error = "the library made no delegate: benchmark_model would go on without one";
    return nullptr;
  }
  wrapper->tflite.data = wrapper.get();
  wrapper->tflite.Prepare = Prepare;
  wrapper->tflite.flags = wrapper->wrapped->flags;
  return &wrapper.release()->tflite;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) TfLiteDelegate* tflite_plugin_create_delegate(
    const char* const* keys, const char* const* values, size_t count,
    void (*report_error)(const char*)) {
  std::string path, options, error;
  for (size_t i = 0; i < count; ++i) {
    (std::string(keys[i]) == "path" ? path : options) = values[i];
  }
  TfLiteDelegate* delegate = Load(path, options, &error);
  if (delegate == nullptr) report_error(error.c_str());
  return delegate;
}

__attribute__((visibility("default"))) void tflite_plugin_destroy_delegate(
    TfLiteDelegate* delegate) {
  if (delegate == nullptr) return;
  const std::unique_ptr<Wrapper> wrapper(static_cast<Wrapper*>(delegate->data));
  wrapper->destroy(wrapper->wrapped);
}

}  // extern "C"
