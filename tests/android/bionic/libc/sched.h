#pragma once
#include <features.h>
ACCQ_C int sched_yield(void);
