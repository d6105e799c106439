// Known words and a few more. See label_values.h.
#include "label_values.h"

namespace kvalign {
namespace {

bool is_word(std::string_view value) {
  return value.size() <= 32 &&
         value.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos;
}

}  // namespace

LabelValues::LabelValues(std::vector<std::string> known, size_t room)
    : admitted_(known.begin(), known.end()), room_(room) {}

std::string LabelValues::admit(std::string_view value) {
  if (value.empty()) return "none";
  std::string text(value);
  if (admitted_.contains(text)) return text;
  if (room_ == 0 || !is_word(value)) return "other";
  --room_;
  admitted_.insert(text);
  return text;
}

}  // namespace kvalign
