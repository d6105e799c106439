// Certificates: what is proved of each checkpoint's error, beside what was measured. See
// html_sections.h.
#include <cmath>
#include <nlohmann/json.hpp>

#include "html_page.h"
#include "html_sections.h"
#include "number_text.h"
#include "svg_plot.h"

namespace kvalign {
namespace {

using nlohmann::json;

// The layer of "keys.3" where `group` is "keys"; -1 of another stream.
int64_t layer_of(const std::string& stream, const std::string& group) {
  const std::string digits = stream.starts_with(group + ".") ? stream.substr(group.size() + 1) : "";
  const bool is_number =
      !digits.empty() && digits.find_first_not_of("0123456789") == std::string::npos;
  return is_number ? std::stoll(digits) : -1;
}

// One line of the plot: what it shows, and where a stream has it.
struct DistortionLine {
  const char* name;
  json::json_pointer place;
  SeriesStyle style;
};

const std::vector<DistortionLine>& distortion_lines() {
  static const std::vector<DistortionLine> kLines{
      {"measured, p50", json::json_pointer("/measured/p50"), SeriesStyle::kLineAndMarkers},
      {"measured, max", json::json_pointer("/measured/max"), SeriesStyle::kLineAndMarkers},
      {"certified bound, p50", json::json_pointer("/certified/p50"), SeriesStyle::kDashedLine},
      {"norm of the output, p50", json::json_pointer("/output_norm"), SeriesStyle::kLine}};
  return kLines;
}

std::string distortion_sentence(const json& streams, const std::string& group) {
  int64_t layers = 0, useful = 0;
  double smallest = INFINITY, largest = 0;
  for (const json& stream : streams) {
    if (layer_of(stream.at("stream"), group) < 0) continue;
    const double bound = number_of(stream.at("certified"), "p50");
    const double measured = number_of(stream.at("measured"), "p50");
    ++layers;
    useful += bound < number_of(stream, "output_norm");
    if (!(bound / measured > 0)) continue;
    smallest = std::min(smallest, bound / measured);
    largest = std::max(largest, bound / measured);
  }
  std::string text =
      "Below the norm of the output a bound says something: it does for the median "
      "token of " +
      std::to_string(useful) + " of " + std::to_string(layers) + " layers.";
  if (largest > 0) {
    text += " The bound is " + format_short(smallest) + " to " + format_short(largest) +
            " times what was measured.";
  }
  return text;
}

// Empty where no stream is of a layer, or nothing of it can be drawn.
std::string distortion_figure(const json& row, const std::string& group) {
  const json& streams = row.at("streams");
  LinePlot plot{
      .title = "Distortion against bound: " + group + " of " + row.at("row").get<std::string>(),
      .description = "For the " + group +
                     " of each layer of the receiver: measured "
                     "distortion, certified bound and norm of the output.",
      .x = {"layer of the receiver"},
      .y = {"2-norm of a token's vector", AxisScale::kLog10}};
  bool any = false;
  for (const DistortionLine& line : distortion_lines()) {
    PlotSeries series{.name = line.name, .style = line.style};
    for (const json& stream : streams) {
      const int64_t layer = layer_of(stream.at("stream"), group);
      if (layer < 0) continue;
      const json value = stream.value(line.place, json());
      const double y = value.is_null() ? NAN : value.get<double>();
      series.points.push_back({static_cast<double>(layer), y});
      any = any || y > 0;
    }
    plot.series.push_back(std::move(series));
  }
  return any ? html_figure(draw(plot), distortion_sentence(streams, group)) : "";
}

const std::vector<HtmlColumn>& kinds_columns() {
  static const std::vector<HtmlColumn> kColumns{{"quantity"},
                                                {"on these data", NumberKind::kMeasured},
                                                {"upper bound", NumberKind::kCertified},
                                                {"with 95 % confidence", NumberKind::kStatistical},
                                                {"by a noise model", NumberKind::kEstimate}};
  return kColumns;
}

std::string figures_table(const json& row) {
  const std::string none = "–";
  HtmlTable table("What is known of the error of " + row.at("row").get<std::string>() + ".",
                  kinds_columns());
  const json& quantisation = row.at("quantisation");
  const json &measured = quantisation.at("measured"), &certified = quantisation.at("certified");
  table.add({"quantisation, of a token's norm, p50", cell_of(measured, "p50"),
             cell_of(certified, "p50"), none, none});
  table.add({"quantisation, of a token's norm, max", cell_of(measured, "max"),
             cell_of(certified, "max"), none, none});
  table.add({"quantisation, of a token's norm, root mean square", none, none, none,
             cell_of(quantisation, "rms_model")});
  table.add({"float32 minus float64 arithmetic, largest 2-norm", cell_of(row, "numeric"), none,
             none, none});
  const json& projection = row.at("projection");
  table.add({"projection error of a sequence, mean", cell_of(projection, "mean"), none,
             cell_of(projection, "mean_upper"), none});
  table.add({"projection error that 95 % of sequences stay below", none, none,
             cell_of(projection, "tolerance"), none});
  if (!row.value("decisions", json()).is_null()) {
    const json& decisions = row.at("decisions");
    table.add({"decisions that quantisation cannot change", none,
               cell_of(decisions, "certified_quantisation"), none, none});
    table.add({"decisions that nothing on the way can change", none,
               cell_of(decisions, "certified_fully"), none, none});
    table.add({"decisions unlike the true cache's", cell_of(decisions, "disagreements"), none, none,
               none});
    table.add({"task distortion", none, none, cell_of(decisions, "task_distortion_upper"), none});
  }
  return table.markup();
}

std::string streams_table(const json& row) {
  HtmlTable table(
      "Each stream: 2-norms of a token's vector; vacuous: share of tokens whose bound "
      "is at least the output's norm; floor: mean squared error of an element below "
      "which no projector of this form comes.",
      {{"stream"},
       {"output norm p50", NumberKind::kMeasured},
       {"distortion p50", NumberKind::kMeasured},
       {"p95", NumberKind::kMeasured},
       {"max", NumberKind::kMeasured},
       {"bound p50", NumberKind::kCertified},
       {"p95", NumberKind::kCertified},
       {"max", NumberKind::kCertified},
       {"vacuous", NumberKind::kCertified},
       {"true - projected, mean", NumberKind::kMeasured},
       {"floor", NumberKind::kMeasured}});
  for (const json& stream : row.at("streams")) {
    const json &measured = stream.at("measured"), &certified = stream.at("certified");
    table.add({stream.at("stream"), cell_of(stream, "output_norm"), cell_of(measured, "p50"),
               cell_of(measured, "p95"), cell_of(measured, "max"), cell_of(certified, "p50"),
               cell_of(certified, "p95"), cell_of(certified, "max"),
               percent_cell(number_of(stream, "vacuous")), cell_of(stream, "projection"),
               cell_of(stream, "floor")});
  }
  return table.empty() ? "" : html_details("Streams", table.markup());
}

std::string attention_table(const json& row) {
  if (row.value("attention", json()).is_null()) return "";
  const json& attention = row.at("attention");
  HtmlTable table("Error of the attention output over " + cell_of(attention, "queries") +
                      " queries of the receiver, and C, its size for each unit of error in the "
                      "cache; binding: which of the bounds A to D was the smallest.",
                  {{"layer"},
                   {"error p50", NumberKind::kMeasured},
                   {"p95", NumberKind::kMeasured},
                   {"bound p50", NumberKind::kCertified},
                   {"p95", NumberKind::kCertified},
                   {"C p50", NumberKind::kMeasured},
                   {"p95", NumberKind::kMeasured},
                   {"C p50", NumberKind::kCertified},
                   {"p95", NumberKind::kCertified},
                   {"binding"}});
  for (const json& layer : attention.at("layers")) {
    std::vector<std::string> cells{cell_of(layer, "layer")};
    for (const char* key : {"measured", "certified", "c_measured", "c_certified"}) {
      const json figures = layer.value(key, json::object());
      cells.push_back(cell_of(figures, "p50"));
      cells.push_back(cell_of(figures, "p95"));
    }
    cells.push_back(cell_of(layer, "binding"));
    table.add(cells);
  }
  return html_details("Attention", table.markup());
}

std::string counts_sentence(const json& row) {
  return row.at("text").get<std::string>() + ", sent as " + cell_of(row, "wire") + ". " +
         cell_of(row, "tokens") + " tokens of " + cell_of(row, "sequences") + " sequences; " +
         cell_of(row, "saturated") + " saturated codes, which cannot be certified; " +
         cell_of(row, "violations") + " violations of a bound.";
}

std::string seed_sentence(const json& row) {
  if (row.value("seed_formula", json()).is_null()) return "";
  const json& formula = row.at("seed_formula");
  return html_paragraph("The seed note's formula gives " + cell_of(formula, "value") +
                        ". It is no bound: " + cell_of(formula, "why_no_bound"));
}

std::string certificate(const json& row) {
  const json& projection = row.at("projection");
  return html_heading(row.at("row")) + html_paragraph(counts_sentence(row)) + figures_table(row) +
         html_paragraph("Statistical figures: " + cell_of(projection, "method") + ", " +
                        cell_of(projection, "sequences") + " sequences.") +
         distortion_figure(row, "keys") + distortion_figure(row, "values") + seed_sentence(row) +
         streams_table(row) + attention_table(row);
}

}  // namespace

std::string certificates_section(const json& report) {
  if (!report.contains("certificates")) return "";
  const json& certificates = report.at("certificates");
  std::string markup;
  if (certificates.contains("gate")) {
    const bool passed = certificates.at("gate").at("passed");
    markup += html_verdict(passed, passed ? "Every bound holds" : "A bound does NOT hold",
                           certificates.at("gate").at("why"));
  }
  for (const json& row : certificates.at("rows")) markup += certificate(row);
  return html_section("Certificates", markup);
}

}  // namespace kvalign
