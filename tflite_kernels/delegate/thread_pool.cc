#include "delegate/thread_pool.h"

#include <unistd.h>

#include <csignal>

namespace accq {
namespace {

// Looks before a thread sleeps: about 20 to 100 microseconds, as long as what usually lies between
// two layers of ours, and some times what it costs to wake a thread.
constexpr int kLooks = 2000;

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  asm volatile("yield");
#endif
}

// Callers of Run at this moment, of all pools of the process.
std::atomic<int> callers{0};

class Caller {
 public:
  Caller() : others_(callers++) {}
  ~Caller() { --callers; }

  // Whether the processor has room for `parts` threads of each caller.
  bool HasRoomFor(int parts) const {
    // Not std::thread's: the C++ library of every system has mutexes in its headers, but that
    // function in a file that a freestanding build does not link.
    static const auto processors = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
    return others_ == 0 || (others_ + 1) * parts <= processors;
  }

 private:
  const int others_;
};

template <typename Condition>
void WaitAMoment(const Condition& condition) {
  for (int look = 0; look < kLooks && !condition(); ++look) Pause();
}

}  // namespace

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    ++calls_;
  }
  wake_.notify_all();
  for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
}

void ThreadPool::Grow(int threads) {
  std::lock_guard<std::mutex> lock(mutex_);
  // The process's signals are its own threads' to handle.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (static_cast<int>(threads_.size()) + 1 < threads) {
    // Not std::thread, which throws where this fails.
    pthread_t thread;
    if (pthread_create(&thread, nullptr, ThreadMain, this) != 0) break;
    threads_.push_back(thread);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

int ThreadPool::helpers() {
  std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int>(threads_.size());
}

void ThreadPool::Run(int parts, Work work, void* context) {
  const Caller caller;
  std::unique_lock<std::mutex> busy(busy_, std::defer_lock);
  if (parts <= 1 || !caller.HasRoomFor(parts) || !busy.try_lock()) {
    for (int part = 0; part < parts; ++part) work(context, part);
    return;
  }
  std::unique_lock<std::mutex> lock(mutex_);
  work_ = work;
  context_ = context;
  next_ = 0;
  parts_ = parts;
  unfinished_ = parts;
  ++calls_;
  lock.unlock();
  wake_.notify_all();
  lock.lock();
  DoParts(&lock);
  lock.unlock();
  WaitAMoment([this] { return unfinished_ == 0; });
  lock.lock();
  done_.wait(lock, [this] { return unfinished_ == 0; });
}

void ThreadPool::DoParts(std::unique_lock<std::mutex>* lock) {
  while (next_ < parts_) {
    const int part = next_++;
    const Work work = work_;
    void* const context = context_;
    lock->unlock();
    work(context, part);
    lock->lock();
    if (--unfinished_ == 0) done_.notify_one();
  }
}

void* ThreadPool::ThreadMain(void* pool) {
  static_cast<ThreadPool*>(pool)->Help();
  return nullptr;
}

void ThreadPool::Help() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stop_) {
    DoParts(&lock);
    const uint32_t seen = calls_;
    lock.unlock();
    WaitAMoment([&] { return calls_ != seen; });
    lock.lock();
    wake_.wait(lock, [&] { return stop_ || next_ < parts_; });
  }
}

}  // namespace accq
