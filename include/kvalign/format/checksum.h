// CRC-32C, the checksum of TFRecord files and of packets. It catches accidents, not attackers:
// files whose origin matters carry a SHA-256 (core/sha256.h). C++17, for the device's sake.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kvalign/format/export.h"

namespace kvalign {

// CRC-32C (Castagnoli polynomial 0x1EDC6F41, reflected, RFC 3720 appendix B.4) of `size` bytes.
KVALIGN_API uint32_t crc32c(const void* bytes, size_t size) noexcept;

}  // namespace kvalign
