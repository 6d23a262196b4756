#pragma once
#include <sys/types.h>
ACCQ_C int close(int file);
ACCQ_C ssize_t read(int file, void* bytes, size_t size);
ACCQ_C ssize_t write(int file, const void* bytes, size_t size);
#define _SC_NPROCESSORS_ONLN 0x0061
ACCQ_C long sysconf(int name);
