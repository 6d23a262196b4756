#pragma once
#include <features.h>
#include <stddef.h>
ACCQ_C void* memchr(const void* memory, int byte, size_t size);
ACCQ_C int memcmp(const void* a, const void* b, size_t size);
ACCQ_C void* memcpy(void* to, const void* from, size_t size);
ACCQ_C void* memmove(void* to, const void* from, size_t size);
ACCQ_C void* memset(void* memory, int byte, size_t size);
ACCQ_C char* strchr(const char* text, int byte);
ACCQ_C int strcmp(const char* a, const char* b);
ACCQ_C char* strerror(int error);
ACCQ_C size_t strlen(const char* text);
ACCQ_C int strncmp(const char* a, const char* b, size_t size);
