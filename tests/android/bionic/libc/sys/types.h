#pragma once
#include <features.h>
#include <stddef.h>
typedef long ssize_t;
typedef unsigned mode_t;
