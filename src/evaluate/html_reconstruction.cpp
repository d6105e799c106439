// How near projected caches come to true ones, and how the training went. See html_sections.h.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "html_page.h"
#include "html_sections.h"
#include "kvalign/evaluate/svg_plot.h"

namespace kvalign {
namespace {

using nlohmann::json;

// In the order of reading; flat data have r2, others r2_keys and r2_values.
struct HeadlineFigure {
  const char* key;
  const char* title;
};
constexpr HeadlineFigure kHeadlineFigures[] = {{"r2", "R²"},
                                               {"r2_keys", "R² keys"},
                                               {"r2_values", "R² values"},
                                               {"relative_error", "relative error"},
                                               {"cosine", "cosine"},
                                               {"mse", "MSE"}};

// What a row has under `key` stands before the figures.
std::string headline_table(const std::string& caption, const char* title, const char* key,
                           const json& rows) {
  std::vector<HtmlColumn> columns{{"row"}, {title}};
  std::vector<const char*> figures;
  for (const HeadlineFigure& figure : kHeadlineFigures) {
    if (!rows[0].at("headline").contains(figure.key)) continue;
    figures.push_back(figure.key);
    columns.push_back({figure.title, NumberKind::kMeasured});
    columns.push_back(html_interval_column());
  }
  HtmlTable table(caption, columns);
  for (const json& row : rows) {
    std::vector<std::string> cells{row.at("row"), cell_of(row, key)};
    for (const char* figure : figures) add_interval_cells(cells, row.at("headline").at(figure));
    table.add(cells);
  }
  return table.markup();
}

std::string round_trips_table(const json& report) {
  if (!report.contains("round_trips")) return "";
  return html_heading("Round trips") +
         headline_table(
             "Other ways through the projectors that read the receiver's cache: means over the "
             "streams of the model at the way's end, against its true cache.",
             "way", "way", report.at("round_trips"));
}

std::string streams_table(const json& row) {
  HtmlTable table("Streams of " + row.at("row").get<std::string>() + ".",
                  {{"stream"},
                   {"R²", NumberKind::kMeasured},
                   {"relative error", NumberKind::kMeasured},
                   {"cosine", NumberKind::kMeasured},
                   {"MSE", NumberKind::kMeasured}});
  const auto add = [&](const std::string& name, const json& figures) {
    table.add({name, cell_of(figures, "r2"), cell_of(figures, "relative_error"),
               cell_of(figures, "cosine"), cell_of(figures, "mse")});
  };
  for (const auto& [group, figures] : row.at("groups").items()) {
    add(group + ", mean", figures.at("mean"));
    add(group + ", pooled", figures.at("pooled"));
  }
  for (const json& stream : row.at("streams")) add(stream.at("stream"), stream);
  return html_details("Streams of " + row.at("row").get<std::string>(), table.markup());
}

std::string worst_tokens_table(const json& row) {
  HtmlTable table("Worst tokens of " + row.at("row").get<std::string>() + ".",
                  {{"stream"},
                   {"sequence"},
                   {"token"},
                   {"error", NumberKind::kMeasured},
                   {"relative error", NumberKind::kMeasured}});
  for (const json& token : row.at("worst_tokens")) {
    table.add({token.at("stream"), cell_of(token, "sequence"), cell_of(token, "token"),
               cell_of(token, "error"), cell_of(token, "relative_error")});
  }
  if (table.empty()) return "";
  return html_details("Worst tokens of " + row.at("row").get<std::string>(), table.markup());
}

bool all_positive(const std::vector<PlotSeries>& all) {
  return std::all_of(all.begin(), all.end(), [](const PlotSeries& series) {
    return std::all_of(series.points.begin(), series.points.end(),
                       [](const PlotPoint& point) { return point.y > 0; });
  });
}

// A curve's points that have `key`.
PlotSeries loss_series(const json& curve, const char* key, const char* name, SeriesStyle style) {
  PlotSeries series{.name = name, .style = style};
  for (const json& point : curve.at("points")) {
    const double loss = number_of(point, key);
    if (std::isfinite(loss)) series.points.push_back({point.at("step").get<double>(), loss});
  }
  return series;
}

std::string training_figure(const json& curve) {
  const std::string row = curve.at("row");
  LinePlot plot{.title = "Training of " + row,
                .description = "Training and validation loss of " + row + " against steps.",
                .x = {"step"},
                .y = {"loss, weighted sum of its terms (measured)"}};
  for (PlotSeries& series : std::vector<PlotSeries>{
           loss_series(curve, "loss", "training, one batch", SeriesStyle::kLine),
           loss_series(curve, "validation_loss", "validation", SeriesStyle::kLineAndMarkers)}) {
    if (!series.points.empty()) plot.series.push_back(series);
  }
  if (plot.series.empty()) return "";
  if (all_positive(plot.series)) plot.y.scale = AxisScale::kLog10;
  const auto last = plot.series.back().points.back();
  return html_figure(draw(plot), "The " + plot.series.back().name + " loss ends at " +
                                     number_cell(last.y) + " after " +
                                     cell_of(json(std::llround(last.x))) + " steps.");
}

}  // namespace

std::string reconstruction_section(const json& report) {
  const json& reconstruction = report.at("reconstruction");
  const json& rows = reconstruction.at("rows");
  if (rows.empty()) return "";
  std::string markup = headline_table("Means over the streams of the receiver, on held-out tokens.",
                                      "parameters", "num_parameters", rows) +
                       round_trips_table(report) + task_tables(report) +
                       html_row_texts(reconstruction.at("rows"), reconstruction.at("absent_rows"));
  for (const json& row : rows) {
    if (row.contains("checkpoint")) markup += streams_table(row);
  }
  return html_section("Reconstruction", markup + worst_tokens_table(rows[0]));
}

std::string training_section(const json& report) {
  std::string markup;
  for (const json& curve : report.value("training", json::array())) {
    markup += training_figure(curve);
  }
  return html_section("Training", markup);
}

}  // namespace kvalign
