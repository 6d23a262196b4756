#include "delegate/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace accq {
namespace {

struct Tally {
  std::vector<std::atomic<int>> runs;
  explicit Tally(size_t parts) : runs(parts) {}
  static void Add(void* tally, int part) { ++static_cast<Tally*>(tally)->runs[part]; }
  bool EachIs(int count) const {
    for (const auto& run : runs) {
      if (run != count) return false;
    }
    return true;
  }
};

TEST(ThreadPool, DoesEachPartOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool;
    pool.Grow(threads);
    EXPECT_EQ(pool.helpers(), threads - 1);
    for (const int parts : {0, 1, 2, 3, 17}) {
      Tally tally(static_cast<size_t>(parts));
      for (int i = 0; i < 200; ++i) pool.Run(parts, Tally::Add, &tally);
      EXPECT_TRUE(tally.EachIs(200)) << parts << " parts, " << threads << " threads";
    }
  }
}

TEST(ThreadPool, PartsRunAtOnce) {
  ThreadPool pool;
  pool.Grow(2);
  std::atomic<int> arrived{0};
  // Each part waits for the other, which one thread alone would do for ever.
  pool.Run(
      2,
      [](void* count, int) {
        auto* arrived = static_cast<std::atomic<int>*>(count);
        ++*arrived;
        while (*arrived < 2) std::this_thread::yield();
      },
      &arrived);
  EXPECT_EQ(arrived, 2);
}

TEST(ThreadPool, WakesThreadsThatSleep) {
  ThreadPool pool;
  pool.Grow(3);
  Tally tally(6);
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    pool.Run(6, Tally::Add, &tally);
  }
  EXPECT_TRUE(tally.EachIs(5));
}

TEST(ThreadPool, ThreadsThatCallAtOnceDoNotWaitForEachOther) {
  ThreadPool pool;
  pool.Grow(3);
  Tally tally(7);
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int j = 0; j < 100; ++j) pool.Run(7, Tally::Add, &tally);
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_TRUE(tally.EachIs(400));
}

// Interpreters with a delegate each, in several threads.
TEST(ThreadPool, CallersOfOtherPoolsDoNotCrowdTheProcessor) {
  struct Inner {
    ThreadPool pool;
    int parts = 0, elsewhere = 0;
    std::thread::id caller;
  } inner;
  inner.parts = static_cast<int>(std::thread::hardware_concurrency()) + 1;
  inner.pool.Grow(inner.parts);
  ThreadPool outer;
  outer.Grow(2);
  outer.Run(
      1,
      [](void* context, int) {
        Inner& inner = *static_cast<Inner*>(context);
        std::thread other([&] {
          inner.caller = std::this_thread::get_id();
          for (int i = 0; i < 50; ++i) {
            inner.pool.Run(
                inner.parts,
                [](void* context, int) {
                  Inner& inner = *static_cast<Inner*>(context);
                  if (std::this_thread::get_id() != inner.caller) ++inner.elsewhere;
                },
                &inner);
          }
        });
        other.join();
      },
      &inner);
  EXPECT_EQ(inner.elsewhere, 0);
}

TEST(ThreadPool, EndsWithoutWork) {
  ThreadPool never_grown;
  ThreadPool pool;
  pool.Grow(4);
  pool.Grow(2);
  EXPECT_EQ(pool.helpers(), 3);
}

// Python's multiprocessing forks: threads stay behind.
TEST(ForkedPool, WorksWithoutItsThreads) {
  ThreadPool* pool = new ThreadPool;
  pool->Grow(3);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // until they sleep
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    Tally tally(5);
    pool->Run(5, Tally::Add, &tally);
    _exit(tally.EachIs(1) ? 0 : 1);
  }
  int status = 1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  delete pool;
}

}  // namespace
}  // namespace accq
