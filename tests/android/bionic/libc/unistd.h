#pragma once
#include <sys/types.h>
ACCQ_C int close(int file);
ACCQ_C ssize_t read(int file, void* bytes, size_t size);
ACCQ_C ssize_t write(int file, const void* bytes, size_t size);
