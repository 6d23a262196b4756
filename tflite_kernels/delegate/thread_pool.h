// Threads that help with one piece of work at a time, and sleep when there is none.
#ifndef ACCQ_DELEGATE_THREAD_POOL_H_
#define ACCQ_DELEGATE_THREAD_POOL_H_

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

namespace accq {

// A caller of Run works itself, and waits only for parts that a thread has begun: it gets through
// when threads could not be started or, in a forked process, are gone. A caller that finds the
// threads at work for another one does all of its parts itself, and so does one whose threads,
// together with those of callers of other pools, would be more than there are processors:
// interpreters in several threads never wait for each other nor, from their next operator on, crowd
// the processor.
class ThreadPool {
 public:
  using Work = void (*)(void* context, int part);

  ThreadPool() = default;
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Starts threads until there are `threads`, the caller of Run among them, or the system refuses.
  void Grow(int threads);

  // Calls work(context, part) once for each part in [0, parts) and returns when all are done.
  void Run(int parts, Work work, void* context);

  // Threads besides the caller's.
  int helpers();

 private:
  static void* ThreadMain(void* pool);
  void Help();
  // Does parts until none is left to begin. `lock` holds mutex_, before and after.
  void DoParts(std::unique_lock<std::mutex>* lock);

  std::mutex busy_;  // held by the caller whose work this is
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<pthread_t> threads_;
  // Under mutex_; the atomic ones are also watched without it, for a moment, before sleeping.
  Work work_ = nullptr;
  void* context_ = nullptr;
  int parts_ = 0, next_ = 0;  // parts [next_, parts_) have not begun
  std::atomic<int> unfinished_{0};
  std::atomic<uint32_t> calls_{0};
  bool stop_ = false;
};

}  // namespace accq

#endif  // ACCQ_DELEGATE_THREAD_POOL_H_
