// What each row would cost: a table of whatever the estimate has. See html_sections.h.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "html_page.h"
#include "html_sections.h"

namespace kvalign {
namespace {

using nlohmann::json;

// "seconds_link" -> "seconds link"
std::string title_of(std::string key) {
  std::replace(key.begin(), key.end(), '_', ' ');
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

std::string link_sentence(const json& cost) {
  std::string text = "Estimates by a roofline model, not runs: sender on " +
                     cell_of(cost, "sender_target") + ", receiver on " +
                     cell_of(cost, "receiver_target");
  const json link = cost.value("link", json());
  if (link.is_object()) {
    text += ", link of " + cell_of(link, "bits_per_second") + " bits a second and " +
            cell_of(link, "latency_seconds") + " s latency";
  }
  return text + ".";
}

}  // namespace

std::string cost_section(const json& report) {
  if (!report.contains("cost")) return "";
  const json& cost = report.at("cost");
  const json& rows = cost.at("rows");
  const std::vector<std::string> keys = keys_of(rows);
  std::vector<HtmlColumn> columns;
  for (const std::string& key : keys) {
    columns.push_back(
        {title_of(key), has_number(rows, key) ? NumberKind::kEstimate : NumberKind::kNone});
  }
  HtmlTable table("What a row costs on these machines, estimated.", columns);
  for (const json& row : rows) {
    std::vector<std::string> cells;
    for (const std::string& key : keys) cells.push_back(cell_of(row, key.c_str()));
    table.add(cells);
  }
  return html_section("Cost", html_paragraph(link_sentence(cost)) + table.markup());
}

}  // namespace kvalign
