// Table 3-7 of Unicode 15 (well-formed UTF-8). See utf8_pieces.h.
#include "utf8_pieces.h"

#include <cstddef>
#include <cstdint>

namespace kvalign {
namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";

// Of the character that begins with `lead`: how many bytes it has, 0 for a byte that begins none,
// and what the second one may be.
struct Utf8Lead {
  size_t length;
  uint8_t second_low, second_high;
};

Utf8Lead utf8_lead(uint8_t lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead < 0xF0) {
    return {3, static_cast<uint8_t>(lead == 0xE0 ? 0xA0 : 0x80),
            static_cast<uint8_t>(lead == 0xED ? 0x9F : 0xBF)};
  }
  if (lead > 0xF4) return {0, 0, 0};
  return {4, static_cast<uint8_t>(lead == 0xF0 ? 0x90 : 0x80),
          static_cast<uint8_t>(lead == 0xF4 ? 0x8F : 0xBF)};
}

// Bytes from `begin` on that one character may begin with: all of it, or what is there of it.
size_t utf8_prefix(std::string_view bytes, size_t begin, const Utf8Lead& lead) {
  size_t length = 1;
  while (length < lead.length && begin + length < bytes.size()) {
    const auto byte = static_cast<uint8_t>(bytes[begin + length]);
    const bool first = length == 1;
    if (byte < (first ? lead.second_low : 0x80) || byte > (first ? lead.second_high : 0xBF)) break;
    ++length;
  }
  return length;
}

}  // namespace

std::string Utf8Pieces::add(std::string_view bytes) {
  rest_ += bytes;
  std::string text;
  size_t begin = 0;
  while (begin < rest_.size()) {
    const Utf8Lead lead = utf8_lead(static_cast<uint8_t>(rest_[begin]));
    const size_t length = utf8_prefix(rest_, begin, lead);
    if (length < lead.length && begin + length == rest_.size()) break;  // more may come
    text += length == lead.length ? rest_.substr(begin, length) : kReplacement;
    begin += length;
  }
  rest_.erase(0, begin);
  return text;
}

std::string Utf8Pieces::finish() {
  const bool cut = !rest_.empty();
  rest_.clear();
  return cut ? kReplacement : "";
}

}  // namespace kvalign
