// Base64 (RFC 4648), strict: padded, without line breaks. Private to serve/.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kvalign {

/// The bytes, or none where `text` is no base64.
std::optional<std::string> decode_base64(std::string_view text);

std::string encode_base64(std::string_view bytes);

}  // namespace kvalign
