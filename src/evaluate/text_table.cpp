// See text_table.h.
#include "kvalign/evaluate/text_table.h"

#include <algorithm>

namespace kvalign {
namespace {

// Characters of UTF-8 text: bytes that do not continue one.
size_t width(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

}  // namespace

std::string TextTable::aligned() const {
  std::vector<size_t> widths(lines_[0].size());
  for (const auto& line : lines_) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], width(line[i]));
  }
  std::string text;
  for (const auto& line : lines_) {
    for (size_t i = 0; i < line.size(); ++i) {
      const std::string padding(widths[i] - width(line[i]), ' ');
      text += i == 0 ? line[i] + padding : "  " + padding + line[i];
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

std::string TextTable::markdown() const {
  std::string text;
  for (size_t l = 0; l < lines_.size(); ++l) {
    text += "|";
    for (const std::string& cell : lines_[l]) text += " " + cell + " |";
    text += '\n';
    if (l > 0) continue;
    text += "|";
    for (size_t i = 0; i < lines_[0].size(); ++i) text += i == 0 ? " --- |" : " ---: |";
    text += '\n';
  }
  return text;
}

}  // namespace kvalign
