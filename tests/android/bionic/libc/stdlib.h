#pragma once
#include <features.h>
#include <stddef.h>
ACCQ_C __attribute__((noreturn)) void abort(void);
ACCQ_C void free(void* memory);
ACCQ_C void* malloc(size_t size);
ACCQ_C int posix_memalign(void** memory, size_t alignment, size_t size);
typedef struct {
  long quot, rem;
} ldiv_t;
typedef struct {
  long long quot, rem;
} lldiv_t;
ACCQ_C ldiv_t ldiv(long dividend, long divisor);
ACCQ_C lldiv_t lldiv(long long dividend, long long divisor);
