// SHA-256 of bytes and of files, as 64 lower-case hexadecimal digits: what records which data and
// weights a result came from. OpenSSL does the work.
#pragma once

#include <string>
#include <string_view>

#include "kvalign/format/export.h"

namespace kvalign {

KVALIGN_API std::string sha256_hex(std::string_view bytes);

// Reads the file in blocks, so its size does not matter.
// Errors: std::runtime_error that names the path and the reason.
KVALIGN_API std::string sha256_of_file(const std::string& path);

}  // namespace kvalign
