// CRC-32C, one table look-up a byte: a few hundred megabytes a second, which is far more than event
// files and packets need.
#include "kvalign/format/checksum.h"

namespace kvalign {
namespace {

struct Table {
  uint32_t remainder_of[256];  // of each byte
};

// 0x82F63B78 is the Castagnoli polynomial 0x1EDC6F41 with its bits reversed (RFC 3720, B.4).
constexpr Table make_table() {
  Table table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) {
      remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0x82F63B78u : 0u);
    }
    table.remainder_of[byte] = remainder;
  }
  return table;
}

constexpr Table kTable = make_table();

}  // namespace

uint32_t crc32c(const void* bytes, size_t size) noexcept {
  const auto* byte = static_cast<const uint8_t*>(bytes);
  uint32_t remainder = ~0u;
  for (size_t i = 0; i < size; ++i) {
    remainder = kTable.remainder_of[(remainder ^ byte[i]) & 0xFF] ^ (remainder >> 8);
  }
  return ~remainder;
}

}  // namespace kvalign
