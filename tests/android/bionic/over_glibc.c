// As libc.so and liblog.so, lets a library that was built for Android on x86-64 run on glibc: what
// glibc has under another name or in another size. All else comes from glibc; its mutexes and
// condition variables are of bionic's sizes on this processor.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int* __errno(void) { return &errno; }

// Of the 64 signals of a bionic sigset_t; glibc's has 1024.
int sigfillset(unsigned long* set) {
  *set = ~0ul;
  return 0;
}

int pthread_sigmask(int how, const unsigned long* set, unsigned long* before) {
  unsigned long wide[16] = {0}, wide_before[16] = {0};
  if (set != NULL) wide[0] = *set;
  int (*glibc)(int, const void*, void*) =
      (int (*)(int, const void*, void*))dlsym(RTLD_NEXT, "pthread_sigmask");
  const int result = glibc(how, set == NULL ? NULL : wide, wide_before);
  if (before != NULL) *before = wide_before[0];
  return result;
}

// The one name that the library asks for, by bionic's number.
long sysconf(int name) {
  long (*glibc)(int) = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");
  return glibc(name == 0x0061 ? _SC_NPROCESSORS_ONLN : name);
}

int __android_log_write(int priority, const char* tag, const char* text) {
  return fprintf(stderr, "%d/%s: %s\n", priority, tag, text);
}
