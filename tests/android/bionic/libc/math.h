#pragma once
#include <features.h>
#define FP_INFINITE 1
#define FP_NAN 2
#define FP_NORMAL 4
#define FP_SUBNORMAL 8
#define FP_ZERO 16
ACCQ_C double ldexp(double value, int exponent);
ACCQ_C long lrintf(float value);
ACCQ_C double nearbyint(double value);
ACCQ_C float nearbyintf(float value);
