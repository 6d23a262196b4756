// The built library itself, as a runtime sees it.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <string>

#include "abi/tflite_abi.h"

namespace accq {
namespace {

// A plain function, as the interface has no place for a closure.
std::string* reported = nullptr;
void Report(const char* text) { *reported += text; }

class Plugin : public testing::Test {
 protected:
  using Create = TfLiteDelegate* (*)(const char* const*, const char* const*, size_t,
                                     void (*)(const char*));
  using Destroy = void (*)(TfLiteDelegate*);

  void SetUp() override {
    // Never unloaded, as in Python. Unloading would lose the pool that its libstdc++ keeps.
    library_ = dlopen(ACCQ_DELEGATE_LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    ASSERT_NE(library_, nullptr) << dlerror();
    create_ = reinterpret_cast<Create>(dlsym(library_, "tflite_plugin_create_delegate"));
    destroy_ = reinterpret_cast<Destroy>(dlsym(library_, "tflite_plugin_destroy_delegate"));
    ASSERT_NE(create_, nullptr);
    ASSERT_NE(destroy_, nullptr);
    reported = &text_;
  }
  void TearDown() override { dlclose(library_); }

  void* library_ = nullptr;
  Create create_ = nullptr;
  Destroy destroy_ = nullptr;
  std::string text_;
};

TEST_F(Plugin, CreatesADelegateThatAsksBeforeTheRuntimePrepares) {
  TfLiteDelegate* delegate = create_(nullptr, nullptr, 0, Report);
  ASSERT_NE(delegate, nullptr);
  EXPECT_NE(delegate->Prepare, nullptr);
  EXPECT_EQ(delegate->flags, kTfLiteDelegateFlagsAllowDynamicTensors);
  EXPECT_EQ(delegate->opaque_delegate_builder, nullptr);
  EXPECT_EQ(text_, "");
  destroy_(delegate);
}

TEST_F(Plugin, ABadOptionGivesNullAndAText) {
  const char* key = "speed";
  const char* value = "11";
  EXPECT_EQ(create_(&key, &value, 1, Report), nullptr);
  EXPECT_NE(text_.find("keras-accq: unknown option \"speed\""), std::string::npos) << text_;
}

TEST_F(Plugin, WithoutACallbackTheTextGoesToTheLog) {
  const char* key = "speed";
  const char* value = "11";
  testing::internal::CaptureStderr();
  EXPECT_EQ(create_(&key, &value, 1, nullptr), nullptr);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("keras-accq: no delegate was made: unknown option \"speed\""),
            std::string::npos)
      << log;
}

TEST_F(Plugin, DestroysNull) { destroy_(nullptr); }

TEST_F(Plugin, HidesEverythingElse) {
  EXPECT_EQ(dlsym(library_, "_ZN4accq11KernelTableEv"), nullptr);
}

}  // namespace
}  // namespace accq
