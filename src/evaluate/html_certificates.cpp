// Certificates: what is proved of each checkpoint's error, beside what was measured. See
// html_sections.h.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "html_page.h"
#include "html_sections.h"
#include "kvalign/evaluate/svg_plot.h"
#include "number_text.h"

namespace kvalign {
namespace {

using nlohmann::json;

// A bound that is infinite, null in JSON, is one that is not there.
std::string bound_cell(const json& object, const char* key) {
  return object.at(key).is_null() ? "none" : cell_of(object, key);
}

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
    const double ratio = bound / measured;
    if (!std::isfinite(ratio)) continue;
    smallest = std::min(smallest, ratio);
    largest = std::max(largest, ratio);
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

// Rows of one quantity, each number in the column of its kind.
class FiguresTable {
 public:
  explicit FiguresTable(const std::string& row)
      : table_("What is known of the error of " + row + ".",
               {{"quantity"},
                {"on these data", NumberKind::kMeasured},
                {"proved", NumberKind::kCertified},
                {"population", NumberKind::kStatistical},
                {"noise model", NumberKind::kEstimate}}) {}

  void add(const std::string& quantity, const std::string& measured,
           const std::string& certified = kNone, const std::string& statistical = kNone,
           const std::string& estimate = kNone) {
    table_.add({quantity, measured, certified, statistical, estimate});
  }
  void add_statistical(const std::string& quantity, const std::string& value) {
    add(quantity, kNone, kNone, value);
  }

  std::string markup() const { return table_.markup(); }

 private:
  static constexpr const char* kNone = "–";
  HtmlTable table_;
};

void add_quantisation(FiguresTable& table, const json& row) {
  const json& quantisation = row.at("quantisation");
  const json &measured = quantisation.at("measured"), &certified = quantisation.at("certified");
  for (const char* which : {"p50", "p95", "max"}) {
    table.add(std::string("quantisation of a token, relative, ") + which, cell_of(measured, which),
              bound_cell(certified, which), "–",
              std::string(which) == "p50" ? cell_of(quantisation, "rms_model") : "–");
  }
  table.add("float32 minus float64, largest of a token", cell_of(row, "numeric"));
}

void add_projection(FiguresTable& table, const json& row) {
  table.add("pooled R² of this form at most (sample)", cell_of(row, "largest_r2"));
  if (row.at("projection").is_null()) return;
  const json &projection = row.at("projection"), &upper = projection.at("mean_upper");
  table.add("relative error of a document, mean; by betting", cell_of(projection, "mean"), "–",
            cell_of(upper, "betting"));
  table.add_statistical("the same by empirical Bernstein", cell_of(upper, "empirical_bernstein"));
  table.add_statistical("the same by Hoeffding", cell_of(upper, "hoeffding"));
  table.add_statistical("relative error that 95 % of documents stay below",
                        bound_cell(projection, "tolerance"));
}

void add_decisions(FiguresTable& table, const json& row) {
  if (row.at("decisions").is_null()) return;
  const json& decisions = row.at("decisions");
  const std::string of_all = " of " + cell_of(decisions, "sequences") + " sequences";
  table.add("decisions unlike the true cache's," + of_all, cell_of(decisions, "disagreements"));
  table.add("decisions that quantisation cannot change," + of_all, "–",
            cell_of(decisions, "certified_quantisation"));
  table.add("decisions proved the true cache's," + of_all, "–",
            cell_of(decisions, "certified_fully"));
  table.add("the same, and right," + of_all, "–", cell_of(decisions, "correct_and_certified"));
  table.add("share wrong on true caches", cell_of(decisions, "base_distortion"));
  table.add_statistical("share of decisions unlike the true cache's",
                        interval_cell(number_of(decisions, "task_distortion_lower"),
                                      number_of(decisions, "task_distortion_upper")));
  table.add_statistical("accuracy lost against true caches, at most",
                        cell_of(decisions, "degradation_upper"));
}

std::string figures_table(const json& row) {
  FiguresTable table(row.at("row"));
  add_quantisation(table, row);
  add_projection(table, row);
  add_decisions(table, row);
  return table.markup();
}

std::string certified_streams_table(const json& row) {
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
               cell_of(measured, "p95"), cell_of(measured, "max"), bound_cell(certified, "p50"),
               bound_cell(certified, "p95"), bound_cell(certified, "max"),
               percent_cell(number_of(stream, "vacuous")), cell_of(stream, "projection"),
               cell_of(stream, "floor")});
  }
  return table.empty() ? "" : html_details("Streams", table.markup());
}

// `key` of the row, whose change of the cache is `change`.
std::string attention_table(const json& row, const char* key, const std::string& change) {
  if (row.at(key).is_null()) return "";
  const json& attention = row.at(key);
  HtmlTable table("Change of the attention output relative to it, over " +
                      cell_of(attention, "queries") + " queries of the receiver, " + change + " (" +
                      cell_of(attention, "left_out") + " sequences left out for infinite bounds)" +
                      "; C: the same for each unit of relative change of the cache; binding: the "
                      "least of the bounds A to D, most often.",
                  {{"layer"},
                   {"change p50", NumberKind::kMeasured},
                   {"p95", NumberKind::kMeasured},
                   {"max", NumberKind::kMeasured},
                   {"bound p50", NumberKind::kCertified},
                   {"p95", NumberKind::kCertified},
                   {"max", NumberKind::kCertified},
                   {"C p50", NumberKind::kMeasured},
                   {"p95", NumberKind::kMeasured},
                   {"C bound p50", NumberKind::kCertified},
                   {"p95", NumberKind::kCertified},
                   {"binding"}});
  for (const json& layer : attention.at("layers")) {
    const json &measured = layer.at("measured"), &certified = layer.at("certified");
    const json &c_measured = layer.at("c_measured"), &c_certified = layer.at("c_certified");
    table.add({cell_of(layer, "layer"), cell_of(measured, "p50"), cell_of(measured, "p95"),
               cell_of(measured, "max"), bound_cell(certified, "p50"), bound_cell(certified, "p95"),
               bound_cell(certified, "max"), cell_of(c_measured, "p50"), cell_of(c_measured, "p95"),
               bound_cell(c_certified, "p50"), bound_cell(c_certified, "p95"),
               cell_of(layer, "binding")});
  }
  return html_details("Attention " + change, table.markup());
}

std::string counts_sentence(const json& row) {
  std::string text = row.at("text").get<std::string>() + ", sent as " + cell_of(row, "wire") +
                     ". " + cell_of(row, "tokens") + " tokens of " + cell_of(row, "sequences") +
                     " sequences; " + cell_of(row, "saturated") +
                     " saturated codes, which cannot be certified; " + cell_of(row, "violations") +
                     " bounds that a measurement exceeds.";
  if (row.at("projection").is_null()) return text;
  const json& projection = row.at("projection");
  return text + " Relative errors of documents: " + cell_of(projection, "documents") +
         " were drawn, " + cell_of(projection, "clipped") + " clipped at 1.";
}

std::string seed_sentence(const json& row) {
  const json& formula = row.at("seed_formula");
  return html_paragraph("The seed note's formula gives " + cell_of(formula, "value") + " and is " +
                        cell_of(formula, "why_no_bound") + ".");
}

std::string certificate(const json& row) {
  return html_heading(row.at("row")) + html_paragraph(counts_sentence(row)) + figures_table(row) +
         distortion_figure(row, "keys") + distortion_figure(row, "values") + seed_sentence(row) +
         certified_streams_table(row) + attention_table(row, "attention", "by the wire alone") +
         attention_table(row, "attention_whole", "against the true cache");
}

std::string confidence_sentence(const json& certificates) {
  return "With a confidence of " + percent_cell(number_of(certificates, "confidence")) + " all " +
         cell_of(certificates, "statements") +
         " statistical limits below hold together (Bonferroni).";
}

}  // namespace

std::string certificates_section(const json& report) {
  if (!report.contains("certificates")) return "";
  const json& certificates = report.at("certificates");
  std::string markup;
  const json& gate = certificates.at("gate");
  markup += html_verdict(gate.at("passed"),
                         "Certificates: " + gate.at("verdict").get<std::string>(), gate.at("why"));
  markup += html_paragraph(confidence_sentence(certificates));
  for (const json& row : certificates.at("rows")) markup += certificate(row);
  for (const json& why : certificates.at("absent")) {
    markup += html_paragraph("Not certified: " + why.get<std::string>());
  }
  return html_section("Certificates", markup);
}

}  // namespace kvalign
