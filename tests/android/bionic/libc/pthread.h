#pragma once
#include <features.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>
typedef long pthread_t;
typedef int pthread_key_t;
typedef int pthread_once_t;
typedef struct {
  int32_t of_bionic[10];
} pthread_mutex_t;
typedef struct {
  int32_t of_bionic[12];
} pthread_cond_t;
typedef long pthread_mutexattr_t;
typedef struct pthread_attr_t pthread_attr_t;
#define PTHREAD_MUTEX_RECURSIVE 1
#define PTHREAD_ONCE_INIT 0
#define PTHREAD_MUTEX_INITIALIZER {{0}}
#define PTHREAD_COND_INITIALIZER {{0}}
ACCQ_C int pthread_cond_broadcast(pthread_cond_t* condition);
ACCQ_C int pthread_cond_destroy(pthread_cond_t* condition);
ACCQ_C int pthread_cond_signal(pthread_cond_t* condition);
ACCQ_C int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                                  const struct timespec* until);
ACCQ_C int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex);
ACCQ_C int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                          void* (*function)(void*), void* argument);
ACCQ_C int pthread_detach(pthread_t thread);
ACCQ_C void* pthread_getspecific(pthread_key_t key);
ACCQ_C int pthread_join(pthread_t thread, void** result);
ACCQ_C int pthread_key_create(pthread_key_t* key, void (*destroy)(void*));
ACCQ_C int pthread_mutex_destroy(pthread_mutex_t* mutex);
ACCQ_C int pthread_mutex_init(pthread_mutex_t* mutex, const pthread_mutexattr_t* attributes);
ACCQ_C int pthread_mutex_lock(pthread_mutex_t* mutex);
ACCQ_C int pthread_mutex_trylock(pthread_mutex_t* mutex);
ACCQ_C int pthread_mutex_unlock(pthread_mutex_t* mutex);
ACCQ_C int pthread_mutexattr_destroy(pthread_mutexattr_t* attributes);
ACCQ_C int pthread_mutexattr_init(pthread_mutexattr_t* attributes);
ACCQ_C int pthread_mutexattr_settype(pthread_mutexattr_t* attributes, int type);
ACCQ_C int pthread_once(pthread_once_t* once, void (*function)(void));
ACCQ_C pthread_t pthread_self(void);
ACCQ_C int pthread_setspecific(pthread_key_t key, const void* value);
