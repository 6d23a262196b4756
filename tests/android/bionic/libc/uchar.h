#pragma once
#include <features.h>
typedef struct {
  unsigned char of_bionic[8];
} mbstate_t;
