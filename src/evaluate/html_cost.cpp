// What each row would cost: a table of whatever the estimate has. See html_sections.h.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "html_page.h"
#include "html_sections.h"

namespace kvalign {
namespace {

using nlohmann::json;

// "link/bits_per_second" -> "link bits per second"
std::string title_of(std::string key) {
  std::replace(key.begin(), key.end(), '_', ' ');
  std::replace(key.begin(), key.end(), '/', ' ');
  return key;
}

// Texts, such as "not measured", are no estimates.
bool has_number(const json& rows, const std::string& key) {
  return std::any_of(rows.begin(), rows.end(),
                     [&](const json& row) { return row.contains(key) && row.at(key).is_number(); });
}

// Those of any row, `row` first, totals after their parts, texts last.
std::vector<std::string> keys_of(const json& rows) {
  std::set<std::string> found;
  for (const json& row : rows) {
    for (const auto& [key, value] : row.items()) found.insert(key);
  }
  found.erase("row");
  std::vector<std::string> keys(found.begin(), found.end());
  std::stable_sort(keys.begin(), keys.end(), [&](const std::string& a, const std::string& b) {
    const auto rank = [&](const std::string& key) {
      return !has_number(rows, key) ? 2 : key.ends_with("_total") ? 1 : 0;
    };
    return rank(a) < rank(b);
  });
  keys.insert(keys.begin(), "row");
  return keys;
}

std::string table_of(const std::string& caption, const json& rows) {
  const std::vector<std::string> keys = keys_of(rows);
  std::vector<HtmlColumn> columns;
  for (const std::string& key : keys) {
    const NumberKind text = key == "text" ? NumberKind::kText : NumberKind::kNone;
    columns.push_back({title_of(key), has_number(rows, key) ? NumberKind::kEstimate : text});
  }
  HtmlTable table(caption, columns);
  for (const json& row : rows) {
    std::vector<std::string> cells;
    for (const std::string& key : keys) cells.push_back(cell_of(row, key.c_str()));
    table.add(cells);
  }
  return table.markup();
}

// What the estimate assumes: each number and text that is no row.
std::string cost_settings_list(const json& cost) {
  std::vector<std::string> texts;
  const json settings = cost.flatten();
  for (const auto& [key, value] : settings.items()) {
    const std::string place = key.substr(1);  // "/link/bits_per_second"
    if (place.starts_with("rows") || place.starts_with("steps")) continue;
    texts.push_back(title_of(place) + ": " + cell_of(value));
  }
  return html_list(texts);
}

}  // namespace

std::string cost_section(const json& report) {
  if (!report.contains("cost")) return "";
  const json& cost = report.at("cost");
  std::string markup =
      html_paragraph(
          "Estimates by a roofline model, not runs: each step takes the longer of its "
          "operations at the peak and its bytes at the bandwidth of a device. A step cannot be "
          "faster; a server that overlaps steps can be faster than their sum.") +
      cost_settings_list(cost) + table_of("What a row costs on these machines.", cost.at("rows"));
  if (cost.contains("steps")) {
    markup += html_details("Steps", table_of("The steps of each row.", cost.at("steps")));
  }
  return html_section("Cost", markup);
}

}  // namespace kvalign
