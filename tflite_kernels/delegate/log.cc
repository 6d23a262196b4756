#include "delegate/log.h"

#include <cstdio>

#ifdef __ANDROID__
#include <android/log.h>
#endif

namespace accq {

void Log(const std::string& text) {
  fprintf(stderr, "keras-accq: %s\n", text.c_str());
#ifdef __ANDROID__
  __android_log_write(ANDROID_LOG_INFO, "keras-accq", text.c_str());
#endif
}

}  // namespace accq
