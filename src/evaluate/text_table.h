// A table of texts, for a terminal or for Markdown. Private to evaluate/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/evaluate/bootstrap.h"

namespace kvalign {

class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : lines_{std::move(header)} {}

  // As many cells as the header has.
  void add(std::vector<std::string> cells) { lines_.push_back(std::move(cells)); }

  // Columns padded to their widest cell: the first to the left, the others to the right.
  std::string aligned() const;
  std::string markdown() const;

 private:
  std::vector<std::vector<std::string>> lines_;
};

// Four decimals, or three digits where those say nothing; "-" where undefined.
std::string format_number(double value);

// Three digits: "0.0123", "1.23e-05".
std::string format_short(double value);

// 2109440 -> "2,109,440".
std::string with_commas(int64_t number);

// Three digits with a prefix of the SI: 3.31e-6 and "s" give "3.31 µs".
std::string with_prefix(double value, const std::string& unit);

// "0.8123 [0.8011, 0.8240]"; the figure alone where there is no interval.
std::string format_interval(const Interval& interval);

// "- " before each line, for Markdown; every line ends with a line break.
std::string markdown_list(const std::string& lines);

}  // namespace kvalign
