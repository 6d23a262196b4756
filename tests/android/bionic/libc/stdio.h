#pragma once
#include <features.h>
#include <stdarg.h>
#include <stddef.h>
typedef struct __sFILE FILE;
typedef long fpos_t;
#define EOF (-1)
extern FILE* stderr;
ACCQ_C int fclose(FILE* file);
ACCQ_C int fprintf(FILE* file, const char* format, ...);
ACCQ_C FILE* fopen(const char* path, const char* mode);
ACCQ_C int remove(const char* path);
ACCQ_C int snprintf(char* text, size_t size, const char* format, ...);
ACCQ_C int vsnprintf(char* text, size_t size, const char* format, va_list arguments);
