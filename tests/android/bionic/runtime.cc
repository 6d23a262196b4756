// Stands in for the part of the NDK's libc++_static that the library needs: on its side, too, only
// functions of libc's.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <string>

void* operator new(size_t size) {
  void* memory = malloc(size == 0 ? 1 : size);
  if (memory == nullptr) abort();
  return memory;
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return malloc(size == 0 ? 1 : size);
}
void* operator new(size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  void* memory = nullptr;
  return posix_memalign(&memory, static_cast<size_t>(alignment), size) == 0 ? memory : nullptr;
}
void* operator new[](size_t size) { return operator new(size); }
void* operator new[](size_t size, const std::nothrow_t& nothrow) noexcept {
  return operator new(size, nothrow);
}
void* operator new[](size_t size, std::align_val_t alignment, const std::nothrow_t& n) noexcept {
  return operator new(size, alignment, n);
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { free(memory); }
void operator delete[](void* memory) noexcept { free(memory); }
void operator delete[](void* memory, size_t) noexcept { free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { free(memory); }

namespace std {

const nothrow_t nothrow{};

inline namespace __1 {

mutex::~mutex() noexcept { pthread_mutex_destroy(&__m_); }
void mutex::lock() { pthread_mutex_lock(&__m_); }
bool mutex::try_lock() noexcept { return pthread_mutex_trylock(&__m_) == 0; }
void mutex::unlock() noexcept { pthread_mutex_unlock(&__m_); }

condition_variable::~condition_variable() { pthread_cond_destroy(&__cv_); }
void condition_variable::notify_one() noexcept { pthread_cond_signal(&__cv_); }
void condition_variable::notify_all() noexcept { pthread_cond_broadcast(&__cv_); }
void condition_variable::wait(unique_lock<mutex>& lock) noexcept {
  pthread_cond_wait(&__cv_, lock.mutex()->native_handle());
}

template class basic_string<char>;
template string operator+(const char*, const string&);

template <typename Less, typename Iterator>
void __sort(Iterator first, Iterator last, Less) {
  for (Iterator end = first; end < last; ++end) {
    for (Iterator i = end; i > first && *i < *(i - 1); --i) swap(*i, *(i - 1));
  }
}
template void __sort<__less<int>&, int*>(int*, int*, __less<int>&);

namespace {
template <typename... Values>
string Print(const char* format, Values... values) {
  char text[64];
  snprintf(text, sizeof(text), format, values...);
  return text;
}
}  // namespace
string to_string(int value) { return Print("%d", value); }
string to_string(long value) { return Print("%ld", value); }
string to_string(unsigned long value) { return Print("%lu", value); }
string to_string(float value) { return Print("%f", static_cast<double>(value)); }

void* align(size_t alignment, size_t size, void*& memory, size_t& room) {
  const size_t skip = -reinterpret_cast<uintptr_t>(memory) & (alignment - 1);
  if (room < size || room - size < skip) return nullptr;
  room -= skip;
  return memory = static_cast<char*>(memory) + skip;
}

void __libcpp_verbose_abort(const char*, ...) { abort(); }
void __throw_system_error(int, const char*) { abort(); }

}  // namespace __1
}  // namespace std

extern "C" void __cxa_pure_virtual() { abort(); }
