// The native half of org.kerasaccq.AccqDelegate.
#include <jni.h>

#include <new>
#include <string>
#include <vector>

#include "delegate/delegate.h"
#include "delegate/delegate_options.h"

namespace {

// Throws a Java exception, unless one is pending. Failures of the virtual machine leave one of
// its own, more telling than ours.
void Throw(JNIEnv* env, const char* class_name, const std::string& text) {
  if (env->ExceptionCheck()) return;
  const jclass type = env->FindClass(class_name);
  if (type != nullptr) env->ThrowNew(type, text.c_str());
}

// Copies the elements of a String[]. False, with an exception pending, when that fails.
bool ReadStrings(JNIEnv* env, jobjectArray array, std::vector<std::string>* strings) {
  if (array == nullptr) {
    Throw(env, "java/lang/NullPointerException", "keras-accq: options are null");
    return false;
  }
  const jsize size = env->GetArrayLength(array);
  for (jsize i = 0; i < size; ++i) {
    const jobject element = env->GetObjectArrayElement(array, i);
    if (element == nullptr) {
      Throw(env, "java/lang/NullPointerException", "keras-accq: an option is null");
      return false;
    }
    const jstring text = static_cast<jstring>(element);
    const char* bytes = env->GetStringUTFChars(text, nullptr);
    if (bytes == nullptr) {
      Throw(env, "java/lang/OutOfMemoryError", "keras-accq: no memory for an option");
      return false;
    }
    strings->emplace_back(bytes);
    env->ReleaseStringUTFChars(text, bytes);
    env->DeleteLocalRef(element);
  }
  return true;
}

std::vector<const char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<const char*> pointers;
  for (const std::string& string : strings) pointers.push_back(string.c_str());
  return pointers;
}

accq::Delegate* FromHandle(jlong handle) {
  return accq::DelegateOf(reinterpret_cast<TfLiteDelegate*>(handle));
}

}  // namespace

extern "C" {

JNIEXPORT jlong JNICALL Java_org_kerasaccq_AccqDelegate_nativeCreate(JNIEnv* env, jclass,
                                                                     jobjectArray keys,
                                                                     jobjectArray values) {
  std::vector<std::string> key_strings, value_strings;
  if (!ReadStrings(env, keys, &key_strings) || !ReadStrings(env, values, &value_strings)) return 0;
  if (key_strings.size() != value_strings.size()) {
    Throw(env, "java/lang/IllegalArgumentException",
          "keras-accq: expected as many option values as names");
    return 0;
  }
  accq::DelegateOptions options;
  std::string error;
  if (!accq::ParseDelegateOptions(Pointers(key_strings).data(), Pointers(value_strings).data(),
                                  key_strings.size(), &options, &error)) {
    Throw(env, "java/lang/IllegalArgumentException", "keras-accq: " + error);
    return 0;
  }
  accq::Delegate* delegate = new (std::nothrow) accq::Delegate(options);
  if (delegate == nullptr) {
    Throw(env, "java/lang/OutOfMemoryError", "keras-accq: no memory for a delegate");
    return 0;
  }
  return reinterpret_cast<jlong>(&delegate->tflite);
}

JNIEXPORT jlong JNICALL Java_org_kerasaccq_AccqDelegate_nativeNodeCount(JNIEnv*, jclass,
                                                                        jlong handle) {
  return FromHandle(handle)->status.nodes.load();
}

JNIEXPORT void JNICALL Java_org_kerasaccq_AccqDelegate_nativeDestroy(JNIEnv*, jclass,
                                                                     jlong handle) {
  delete FromHandle(handle);
}

}  // extern "C"
