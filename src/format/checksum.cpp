// CRC-32C, one table look-up a byte: a few hundred megabytes a second, which is far more than event
// files and packets need.
#include "kvalign/format/checksum.h"

#include <array>

namespace kvalign {
namespace {

// 0x82F63B78 is the Castagnoli polynomial 0x1EDC6F41 with its bits reversed (RFC 3720, B.4).
constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) {
      remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0x82F63B78u : 0u);
    }
    table[byte] = remainder;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = make_table();

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes) noexcept {
  uint32_t remainder = ~0u;
  for (const std::byte byte : bytes) {
    remainder = kTable[(remainder ^ static_cast<uint32_t>(byte)) & 0xFF] ^ (remainder >> 8);
  }
  return ~remainder;
}

}  // namespace kvalign
