#pragma once
#include <features.h>
#define AT_HWCAP 16
#define AT_HWCAP2 26
ACCQ_C unsigned long getauxval(unsigned long type);
