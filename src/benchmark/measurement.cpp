// A measurement as JSON and as a table. See measurement.h.
#include "kvalign/benchmark/measurement.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "kvalign/evaluate/text_table.h"

namespace kvalign::benchmark {
namespace {

nlohmann::json number_or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

nlohmann::json spread_json(const Spread& spread) {
  return {{"median", number_or_null(spread.median)},
          {"p10", number_or_null(spread.p10)},
          {"p90", number_or_null(spread.p90)}};
}

std::string formatted(const char* format, double value) {
  if (!std::isfinite(value)) return "-";
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// Three digits of what may be microseconds or minutes.
std::string three_digits(double value) {
  return formatted(value >= 100  ? "%.0f"
                   : value >= 10 ? "%.1f"
                   : value >= 1  ? "%.2f"
                                 : "%.3f",
                   value);
}

// A baseline's own cell is empty.
std::string ratio_cell(const Measurement& row, const std::string& baseline) {
  const auto found = std::find_if(row.ratios.begin(), row.ratios.end(),
                                  [&](const BaselineRatio& r) { return r.baseline == baseline; });
  if (found == row.ratios.end()) return "";
  return formatted("%.3f ", found->ratio.median) + verdict_name(found->verdict);
}

// In the order in which rows name them; a baseline has no ratio to itself.
std::vector<std::string> baselines_of(const std::vector<Measurement>& rows) {
  std::vector<std::string> names;
  for (const Measurement& row : rows) {
    for (const BaselineRatio& ratio : row.ratios) {
      const bool known = std::find(names.begin(), names.end(), ratio.baseline) != names.end();
      if (!known) names.push_back(ratio.baseline);
    }
  }
  return names;
}

std::string heading(const Measurement& row) {
  const std::string what =
      row.suite + ": " + row.case_name + "; " + row.dtype + ", " + row.buffers + ", ";
  if (row.rounds == 1) return what + "once\n";
  return what + std::to_string(row.rounds) + " rounds, A/A " + formatted("%.3f", row.noise.median) +
         " [" + formatted("%.3f", row.noise.p10) + ", " + formatted("%.3f", row.noise.p90) + "]\n";
}

}  // namespace

nlohmann::json to_json(const Measurement& row) {
  nlohmann::json ratios = nlohmann::json::object();
  for (const BaselineRatio& ratio : row.ratios) {
    ratios[ratio.baseline] = spread_json(ratio.ratio);
    ratios[ratio.baseline]["verdict"] = verdict_name(ratio.verdict);
  }
  return {{"suite", row.suite},
          {"case", row.case_name},
          {"variant", row.variant},
          {"detail", row.detail},
          {"dtype", row.dtype},
          {"device", row.device},
          {"threads", row.threads},
          {"buffers", row.buffers},
          {"rounds", row.rounds},
          {"repetitions", row.repetitions},
          {"milliseconds", spread_json(row.milliseconds)},
          {"first_call_ms", row.first_call_ms},
          {"ratios", ratios},
          {"noise", spread_json(row.noise)},
          {"flops", row.flops},
          {"bytes", row.bytes},
          {"percent_of_peak", number_or_null(row.percent_of_peak)},
          {"percent_of_copy", number_or_null(row.percent_of_copy)},
          {"relative_error", number_or_null(row.relative_error)}};
}

std::string to_text(const std::vector<Measurement>& rows) {
  const std::vector<std::string> baselines = baselines_of(rows);
  std::vector<std::string> titles = {"variant", "ms", "p10", "p90", "first ms"};
  for (const std::string& baseline : baselines) titles.push_back("/ " + baseline);
  titles.insert(titles.end(), {"% peak", "% copy", "error"});
  TextTable table(titles);
  for (const Measurement& row : rows) {
    const std::string detail = row.detail.empty() ? "" : " (" + row.detail + ")";
    std::vector<std::string> cells = {row.variant + detail, three_digits(row.milliseconds.median),
                                      three_digits(row.milliseconds.p10),
                                      three_digits(row.milliseconds.p90),
                                      three_digits(row.first_call_ms)};
    for (const std::string& baseline : baselines) cells.push_back(ratio_cell(row, baseline));
    cells.push_back(formatted("%.0f", row.percent_of_peak));
    cells.push_back(formatted("%.0f", row.percent_of_copy));
    cells.push_back(formatted("%.1e", row.relative_error));
    table.add(std::move(cells));
  }
  return heading(rows.front()) + table.aligned();
}

}  // namespace kvalign::benchmark
