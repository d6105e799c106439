// What a page is made of: sections, tables, figures, numbers. Texts are escaped here; what is
// called markup is not. Private to evaluate/.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace kvalign {

// What stands behind the numbers of a column. They are never mixed in one.
enum class NumberKind {
  kNone,         // a name, a count, a setting
  kText,         // a sentence
  kMeasured,     // on these data
  kCertified,    // an upper bound that was proved
  kStatistical,  // holds with 95 % confidence
  kEstimate,     // of a model of the machine, not of a run
};

struct HtmlColumn {
  std::string title = {};
  NumberKind kind = NumberKind::kNone;
};

class HtmlTable {
 public:
  // `caption` stands above it. The first column names the rows.
  HtmlTable(std::string caption, std::vector<HtmlColumn> columns)
      : caption_(std::move(caption)), columns_(std::move(columns)) {}

  // As many cells as there are columns. `is_marked` draws the eye to the row.
  void add(const std::vector<std::string>& cells, bool is_marked = false);

  bool empty() const { return rows_.empty(); }

  // Scrolls sideways where the page is narrow.
  std::string markup() const;

 private:
  std::string caption_;
  std::vector<HtmlColumn> columns_;
  std::string rows_;
};

std::string html_section(const std::string& title, const std::string& markup);
std::string html_heading(const std::string& text);  // within a section
std::string html_details(const std::string& summary, const std::string& markup);
std::string html_paragraph(const std::string& text);
std::string html_preformatted(const std::string& text);
std::string html_list(const std::vector<std::string>& texts);
// Unfolds to the text of each row and why rows are absent.
std::string html_row_texts(const nlohmann::json& rows, const nlohmann::json& absent_rows);
// A plot and the sentence below it.
std::string html_figure(const std::string& svg, const std::string& text);
// A framed sentence that begins with `title`; its frame and sign say how it went.
std::string html_verdict(bool passed, const std::string& title, const std::string& text);
std::string html_badge(NumberKind kind);

std::string html_page(const std::string& title, const std::string& markup);

// NaN where the key is absent or null.
double number_of(const nlohmann::json& object, const char* key);
// "0.7140", "15.39", "12,048.1", "1.23e-05"; "–" for NaN.
std::string number_cell(double value);
// A number as above, but 12,288 where it is whole, "–" for null; a string is itself, anything else
// is JSON.
std::string cell_of(const nlohmann::json& value);
// The same of a key, "–" where the object lacks it.
std::string cell_of(const nlohmann::json& object, const char* key);
// "[0.8011, 0.8240]", "–" for none.
std::string interval_cell(double low, double high);
// A figure with its interval, {"value", "low", "high"}, takes two cells; the second's column.
void add_interval_cells(std::vector<std::string>& cells, const nlohmann::json& interval);
HtmlColumn html_interval_column();
// "87 %", "–" for none.
std::string percent_cell(double share);

}  // namespace kvalign
