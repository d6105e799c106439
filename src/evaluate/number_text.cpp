// Numbers as text. See number_text.h.
#include "number_text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>

namespace kvalign {

std::string format_number(double value) {
  if (!std::isfinite(value)) return "-";
  const double size = std::abs(value);
  const bool plain = size == 0 || (size >= 1e-3 && size < 1e3);
  char text[32];
  std::snprintf(text, sizeof(text), plain ? "%.4f" : "%.3g", value);
  return text;
}

std::string format_short(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

std::string with_prefix(double value, const std::string& unit) {
  constexpr const char* kPrefixes[] = {"n", "µ", "m", "", "k", "M", "G", "T", "P", "E"};
  constexpr int kNone = 3, kLast = 9;
  int prefix = kNone;
  while (value != 0 && std::abs(value) < 0.9995 && prefix > 0) value *= 1000, --prefix;
  while (std::abs(value) >= 999.5 && prefix < kLast) value /= 1000, ++prefix;
  const std::string suffix = kPrefixes[prefix] + unit;
  return format_short(value) + (suffix.empty() ? "" : " " + suffix);
}

std::string with_commas(std::string digits) {
  const size_t begin = digits.find_first_of("0123456789");
  for (size_t place = std::min(digits.find('.'), digits.size()); place > begin + 3; place -= 3) {
    digits.insert(digits.begin() + static_cast<std::ptrdiff_t>(place) - 3, ',');
  }
  return digits;
}

std::string with_commas(int64_t number) {
  return with_commas(std::to_string(number));
}

std::string format_interval(const Interval& interval) {
  const std::string value = format_number(interval.value);
  if (std::isnan(interval.low)) return value;
  return value + " [" + format_number(interval.low) + ", " + format_number(interval.high) + "]";
}

std::string markdown_list(const std::string& lines) {
  std::string text;
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = lines.find('\n', begin);
    text += "- " + lines.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  return text;
}

}  // namespace kvalign
