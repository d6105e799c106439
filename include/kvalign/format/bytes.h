// Ranges of bytes, and numbers in them: little-endian on every host, byte by byte, so that nothing
// depends on the alignment or on the byte order of the machine. C++17: std::span is not there yet.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvalign {

// Borrowed bytes; must not outlive them.
struct ByteView {
  const uint8_t* data = nullptr;
  size_t size = 0;
};

// The lowest sizeof(Number) bytes of an unsigned number, lowest first.
template <class Number>
inline void store_little_endian(uint8_t* bytes, Number number) noexcept {
  for (size_t i = 0; i < sizeof(Number); ++i) {
    bytes[i] = static_cast<uint8_t>(number >> (8 * i));
  }
}

template <class Number>
inline Number load_little_endian(const uint8_t* bytes) noexcept {
  uint64_t number = 0;
  for (size_t i = 0; i < sizeof(Number); ++i) number |= uint64_t{bytes[i]} << (8 * i);
  return static_cast<Number>(number);
}

}  // namespace kvalign
