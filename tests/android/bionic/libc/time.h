#pragma once
#include <sys/types.h>
typedef long time_t;
struct timespec {
  time_t tv_sec;
  long tv_nsec;
};
ACCQ_C int nanosleep(const struct timespec* duration, struct timespec* remaining);
