#include "tests/guarded_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace accq {

// Sanitizers see to all memory themselves: AddressSanitizer guards every byte, of what is not
// assembly, and ThreadSanitizer does not bear that its operators new and delete are replaced.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

void* AllocateGuarded(size_t bytes, size_t alignment) {
  void* memory = nullptr;
  if (posix_memalign(&memory, std::max(alignment, sizeof(void*)), bytes) != 0) return nullptr;
  return memory;
}

void FreeGuarded(void* memory) { std::free(memory); }

}  // namespace accq

#else

namespace {

size_t PageBytes() {
  static const auto bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

// What munmap wants, kept before the memory.
struct Mapping {
  void* memory;
  size_t bytes;
};

size_t RoundUp(size_t size, size_t multiple) { return (size + multiple - 1) / multiple * multiple; }

}  // namespace

void* AllocateGuarded(size_t bytes, size_t alignment) {
  const size_t page = PageBytes();
  if (bytes > SIZE_MAX / 2) return nullptr;
  const size_t usable = RoundUp(sizeof(Mapping) + bytes + alignment, page);
  void* memory = mmap(nullptr, usable + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (mprotect(memory, usable, PROT_READ | PROT_WRITE) != 0) return nullptr;
  const uintptr_t end = reinterpret_cast<uintptr_t>(memory) + usable;
  auto* first = reinterpret_cast<char*>((end - bytes) / alignment * alignment);
  const Mapping mapping = {memory, usable + page};
  std::memcpy(first - sizeof(mapping), &mapping, sizeof(mapping));
  return first;
}

void FreeGuarded(void* memory) {
  if (memory == nullptr) return;
  Mapping mapping;
  std::memcpy(&mapping, static_cast<char*>(memory) - sizeof(mapping), sizeof(mapping));
  munmap(mapping.memory, mapping.bytes);
}

}  // namespace accq

// What kernels allocate (Buffer) is guarded as well.
void* operator new[](std::size_t bytes, std::align_val_t alignment,
                     const std::nothrow_t&) noexcept {
  return accq::AllocateGuarded(bytes, static_cast<std::size_t>(alignment));
}
void operator delete[](void* memory, std::align_val_t) noexcept { accq::FreeGuarded(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  accq::FreeGuarded(memory);
}
#endif
