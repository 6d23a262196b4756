#pragma once
#include <features.h>
#define ANDROID_LOG_INFO 4
ACCQ_C int __android_log_write(int priority, const char* tag, const char* text);
