// A table of texts, for a terminal or for Markdown.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

class KVALIGN_API TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : lines_{std::move(header)} {}

  /// As many cells as the header has.
  void add(std::vector<std::string> cells) { lines_.push_back(std::move(cells)); }

  /// Columns padded to their widest cell: the first to the left, the others to the right.
  std::string aligned() const;
  std::string markdown() const;

 private:
  std::vector<std::vector<std::string>> lines_;
};

}  // namespace kvalign
