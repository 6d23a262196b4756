// Bionic says what it is in one of the headers that every other one includes.
#pragma once
#define __BIONIC__ 1
#ifdef __cplusplus
#define ACCQ_C extern "C"
#else
#define ACCQ_C
#endif
