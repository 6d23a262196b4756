#pragma once
#include <features.h>
ACCQ_C int* __errno(void);
#define errno (*__errno())
