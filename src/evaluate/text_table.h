// A table of texts, for a terminal or for Markdown. Private to evaluate/.
#pragma once

#include <string>
#include <vector>

#include "kvalign/evaluate/bootstrap.h"
#include "number_text.h"

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

// "0.8123 [0.8011, 0.8240]"; the figure alone where there is no interval.
std::string format_interval(const Interval& interval);

// "- " before each line, for Markdown; every line ends with a line break.
std::string markdown_list(const std::string& lines);

}  // namespace kvalign
