// The ladder's plots: what is predicted after each cache, at which price, and how far it lasts. See
// html_sections.h.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "html_page.h"
#include "html_sections.h"
#include "kvalign/evaluate/svg_plot.h"

namespace kvalign {
namespace {

using nlohmann::json;

// Tokens that make a point: one alone is too noisy to read.
constexpr size_t kWindowTokens = 8;

// The key of first16 and all in which every row can be compared, and what it is.
struct Figure {
  const char* key;
  const char* title;
};

Figure comparable_figure(const json& report) {
  if (report.at("ladder_data").at("one_tokenizer").get<bool>()) return {"nll", "nats a token"};
  return {"nats_per_byte", "nats a byte"};
}

// Null where the ladder has no such row.
const json* find_row(const json& report, const std::string& name) {
  const json& rows = report.at("ladder");
  const auto found = std::find_if(rows.begin(), rows.end(),
                                  [&](const json& row) { return row.at("row") == name; });
  return found == rows.end() ? nullptr : &*found;
}

// Rows of checkpoints with nothing re-read, with exact sinks where there are any, and the judged
// one.
std::vector<const json*> trained_rows(const json& report) {
  const json& ladder = report.at("ladder");
  const bool has_sinks = std::any_of(ladder.begin(), ladder.end(),
                                     [](const json& row) { return row.at("sinks") > 0; });
  std::vector<std::string> names{report.at("gate").at("row")};
  for (const json& row : report.at("reconstruction").at("rows")) {
    if (!row.contains("checkpoint")) continue;
    names.push_back(row.at("row").get<std::string>() + (has_sinks ? " + sinks" : ""));
  }
  std::vector<const json*> rows;
  for (const json& row : ladder) {
    const bool is_named = std::find(names.begin(), names.end(), row.at("row")) != names.end();
    if (is_named) rows.push_back(&row);
  }
  return rows;
}

std::string bars_figure(const json& report, const char* tokens, const std::string& which) {
  const Figure figure = comparable_figure(report);
  const std::string low = std::string(figure.key) + "_low",
                    high = std::string(figure.key) + "_high";
  BarPlot plot{.title = "Ladder: " + which,
               .description = "What is predicted after each cache, " + which + ": " + figure.title +
                              " of each row.",
               .axis_title = std::string(figure.title) + ", lower is better"};
  bool any = false, any_interval = false;
  std::string lines;
  for (const json& row : report.at("ladder")) {
    const json& scores = row.at(tokens);
    const double value = number_of(scores, figure.key);
    const std::string name = row.at("row");
    if (name == "true cache" || name == "sender alone") {
      plot.lines.push_back({value, name + " " + number_cell(value)});
      lines += " Dotted: " + name + ", " + number_cell(value) + ".";
      continue;
    }
    plot.bars.push_back({name, number_cell(value), value, number_of(scores, low.c_str()),
                         number_of(scores, high.c_str())});
    any = any || std::isfinite(value);
    any_interval = any_interval || std::isfinite(plot.bars.back().low);
  }
  if (!any) return "";
  const std::string intervals =
      any_interval ? " Thin lines: 95 % intervals over documents (statistical)." : "";
  return html_figure(draw(plot), "Bars: measured." + intervals + lines);
}

// Over the first tokens where the report has it.
const char* retention_key(const json& report) {
  return report.at("ladder")[0].contains("retention_first16") ? "retention_first16" : "retention";
}

std::string rate_sentence(const json& best, const char* key, const json* text) {
  std::string sentence = best.at("row").get<std::string>() + " keeps most, " +
                         percent_cell(number_of(best, key)) +
                         " of what the true cache is worth, for " +
                         cell_of(best, "bytes_per_token") + " bytes a token.";
  if (text != nullptr) {
    sentence += " The text itself is " + cell_of(*text, "bytes_per_token") +
                " bytes a token, and the receiver then computes all of its cache.";
  }
  return sentence;
}

std::string rate_figure(const json& report) {
  const char* key = retention_key(report);
  LinePlot plot{.title = "Rate against quality",
                .description =
                    "Retention of each projected row against the bytes a token that it "
                    "sends.",
                .x = {"bytes a token that cross the network", AxisScale::kLog10},
                .y = {std::string(key) == "retention" ? "retention, all tokens (measured)"
                                                      : "retention, first tokens (measured)"},
                .y_lines = {{1, "true cache"}, {0, "floor"}}};
  const json* best = nullptr;
  for (const json* row : trained_rows(report)) {
    const PlotPoint point{number_of(*row, "bytes_per_token"), number_of(*row, key)};
    if (!std::isfinite(point.y) || !(point.x > 0)) continue;
    plot.series.push_back({row->at("row"), {point}, SeriesStyle::kMarkers});
    if (best == nullptr || point.y > number_of(*best, key)) best = row;
  }
  if (best == nullptr) return "";
  const json* sender = find_row(report, "sender alone");
  if (sender != nullptr && std::isfinite(number_of(*sender, key))) {
    plot.y_lines.push_back({number_of(*sender, key), "sender alone, nothing sent"});
  }
  const json* text = find_row(report, "text");
  if (text != nullptr) plot.x_lines.push_back({number_of(*text, "bytes_per_token"), "text"});
  return html_figure(draw(plot), rate_sentence(*best, key, text));
}

// Means over windows; NaN where a token of one is undefined, and for a last one that is not full.
std::vector<double> window_means(const json& nll_by_position) {
  std::vector<double> means;
  for (size_t begin = 0; begin + kWindowTokens <= nll_by_position.size(); begin += kWindowTokens) {
    double sum = 0;
    for (size_t i = begin; i < begin + kWindowTokens; ++i) {
      sum += nll_by_position[i].is_null() ? NAN : nll_by_position[i].get<double>();
    }
    means.push_back(sum / kWindowTokens);
  }
  return means;
}

// (floor - x) / (floor - true) of each window, at its middle; undefined without room between.
std::vector<PlotPoint> retention_points(const json& row, const std::vector<double>& floor,
                                        const std::vector<double>& ceiling) {
  std::vector<PlotPoint> points;
  const std::vector<double> means = window_means(row.at("nll_by_position"));
  for (size_t w = 0; w < std::min({means.size(), floor.size(), ceiling.size()}); ++w) {
    const double room = floor[w] - ceiling[w];
    points.push_back({(static_cast<double>(w) + 0.5) * kWindowTokens + 0.5,
                      room > 0 ? (floor[w] - means[w]) / room : NAN});
  }
  return points;
}

std::string position_figure(const json& report) {
  const std::string floor_name = report.at("ladder_data").at("floor");
  const json *floor = find_row(report, floor_name), *ceiling = find_row(report, "true cache");
  if (floor == nullptr || ceiling == nullptr || !floor->contains("nll_by_position")) return "";
  LinePlot plot{.title = "Retention by token position",
                .description =
                    "How much of the true cache's worth each projected row keeps, for "
                    "windows of 8 predicted tokens.",
                .x = {"predicted token, windows of 8"},
                .y = {"retention (measured)"},
                .y_lines = {{1, "true cache"}, {0, "floor: " + floor_name}}};
  bool any = false;
  for (const json* row : trained_rows(report)) {
    const std::vector<PlotPoint> points =
        retention_points(*row, window_means(floor->at("nll_by_position")),
                         window_means(ceiling->at("nll_by_position")));
    plot.series.push_back({row->at("row"), points});
    any = any || std::any_of(points.begin(), points.end(),
                             [](const PlotPoint& point) { return std::isfinite(point.y); });
  }
  if (!any) return "";
  return html_figure(draw(plot),
                     "1 is the true cache, 0 the floor, both over the same tokens. The receiver "
                     "reads its own continuation, so that every row and the floor draw nearer to "
                     "the true cache, and later windows have less room and more noise.");
}

}  // namespace

std::string ladder_plots_section(const json& report) {
  if (!report.contains("ladder") || report.at("ladder").empty()) return "";
  const std::string first = cell_of(report.at("ladder_data"), "first_tokens");
  return html_section("Plots of the ladder",
                      bars_figure(report, "first16", "the first " + first + " tokens") +
                          bars_figure(report, "all", "all predicted tokens") + rate_figure(report) +
                          position_figure(report));
}

}  // namespace kvalign
