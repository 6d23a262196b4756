// Memory that ends where a page begins that nothing may touch: reading or writing past its end is a
// crash. Sanitizers do not see what assembly reads.
#ifndef ACCQ_TESTS_GUARDED_MEMORY_H_
#define ACCQ_TESTS_GUARDED_MEMORY_H_

#include <cstddef>

namespace accq {

// `bytes` of memory, a multiple of `alignment` from address 0 and up to `alignment` - 1 bytes
// before the page. Null when there is none.
void* AllocateGuarded(size_t bytes, size_t alignment);
void FreeGuarded(void* memory);

class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes, size_t alignment = 1)
      : memory_(AllocateGuarded(bytes, alignment)) {}
  ~GuardedMemory() { FreeGuarded(memory_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  void* get() const { return memory_; }

 private:
  void* memory_;
};

}  // namespace accq

#endif  // ACCQ_TESTS_GUARDED_MEMORY_H_
