#pragma once
#include <features.h>
typedef unsigned long sigset_t;
#define SIG_SETMASK 2
ACCQ_C int pthread_sigmask(int how, const sigset_t* set, sigset_t* before);
ACCQ_C int sigfillset(sigset_t* set);
