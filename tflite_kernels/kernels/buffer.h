// A 64-byte-aligned array that reports a failed allocation instead of throwing or aborting.
#ifndef ACCQ_KERNELS_BUFFER_H_
#define ACCQ_KERNELS_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace accq {

inline constexpr size_t kAlignment = 64;

template <typename T>
class Buffer {
  static_assert(std::is_trivial_v<T>, "elements are zeroed and never destroyed");

 public:
  Buffer() = default;
  ~Buffer() { ::operator delete[](data_, std::align_val_t(kAlignment)); }
  Buffer(Buffer&& other) noexcept { Swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Swap(other);
    return *this;
  }

  // `count` zeros instead of what was held; false when there is no memory for them.
  [[nodiscard]] bool Allocate(size_t count) {
    if (count > PTRDIFF_MAX / sizeof(T)) return false;
    const size_t bytes = count * sizeof(T);
    void* fresh =
        ::operator new[](bytes == 0 ? 1 : bytes, std::align_val_t(kAlignment), std::nothrow);
    if (fresh == nullptr) return false;
    ::operator delete[](data_, std::align_val_t(kAlignment));
    std::memset(fresh, 0, bytes);
    data_ = static_cast<T*>(fresh);
    size_ = count;
    return true;
  }

  void Swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace accq

#endif  // ACCQ_KERNELS_BUFFER_H_
