// Certificates for people. See certificate_report.h.
#include <algorithm>
#include <cmath>
#include <functional>

#include "kvalign/bounds/seed_formula.h"
#include "kvalign/evaluate/certificate_report.h"
#include "kvalign/evaluate/percentiles.h"
#include "kvalign/evaluate/text_table.h"
#include "number_text.h"

namespace kvalign {
namespace {

std::string percent(double share) {
  return std::isnan(share) ? "-" : format_short(100 * share) + " %";
}

// A bound in three digits is rounded upwards, so that what is printed is one, too.
double rounded_up(double value) {
  if (!std::isfinite(value) || value <= 0) return value;
  const double unit = std::pow(10.0, std::floor(std::log10(value)) - 2);
  return std::ceil(value / unit) * unit;
}

std::string bound(double value) {
  return std::isinf(value) ? "none" : format_short(rounded_up(value));
}

std::string bound_percent(double share) {
  return std::isinf(share) ? "none" : percent(rounded_up(share));
}

// The median over streams of one of their figures.
double over_streams(const CertificateRow& row,
                    const std::function<double(const StreamCertificateFigures&)>& figure) {
  std::vector<double> values;
  for (const StreamCertificateFigures& stream : row.streams) values.push_back(figure(stream));
  return percentiles_of(values).p50;
}

double relative_measured(const StreamCertificateFigures& stream) {
  return stream.measured.p50 / stream.output_norm;
}
double relative_certified(const StreamCertificateFigures& stream) {
  return stream.certified.p50 / stream.output_norm;
}

double vacuous_share(const CertificateRow& row) {
  double sum = 0;
  for (const StreamCertificateFigures& stream : row.streams) sum += stream.vacuous;
  return row.streams.empty() ? 0 : sum / static_cast<double>(row.streams.size());
}

TextTable wire_table(const CertificateReport& report) {
  TextTable table({"row", "sent as", "tokens", "input: measured", "certified", "RMS model",
                   "output: measured", "certified ", "vacuous", "violations"});
  for (const CertificateRow& row : report.rows) {
    table.add({row.row, row.wire, std::to_string(row.tokens),
               percent(row.quantisation_measured.p50),
               bound_percent(row.quantisation_certified.p50), percent(row.quantisation_model),
               percent(over_streams(row, relative_measured)),
               bound_percent(over_streams(row, relative_certified)), percent(vacuous_share(row)),
               std::to_string(row.violations)});
  }
  return table;
}

TextTable projection_table(const CertificateReport& report) {
  TextTable table({"row", "relative error: measured", "mean at most", "empirical Bernstein",
                   "Hoeffding", "95 % of documents", "documents", "R² at most"});
  for (const CertificateRow& row : report.rows) {
    if (!row.projection) continue;
    const ProjectionLimits& limits = *row.projection;
    table.add({row.row, format_short(limits.mean), bound(limits.mean_upper),
               bound(limits.mean_upper_bernstein), bound(limits.mean_upper_hoeffding),
               bound(limits.tolerance), std::to_string(limits.documents),
               format_short(row.largest_r2)});
  }
  return table;
}

TextTable decision_table(const CertificateReport& report) {
  TextTable table({"row", "sequences", "wrong on true caches", "changed: measured", "at most",
                   "certified against rounding", "certified fully", "certified and right",
                   "accuracy lost at most"});
  for (const CertificateRow& row : report.rows) {
    if (!row.decisions) continue;
    const DecisionFigures& decisions = *row.decisions;
    const auto share = [&](int64_t count) {
      return percent(static_cast<double>(count) / static_cast<double>(decisions.sequences));
    };
    table.add({row.row, std::to_string(decisions.sequences), percent(decisions.base_distortion),
               share(decisions.disagreements), bound_percent(decisions.task_distortion_upper),
               share(decisions.certified_quantisation), share(decisions.certified_fully),
               share(decisions.correct_and_certified), bound_percent(decisions.degradation_upper)});
  }
  return table;
}

bool any(const CertificateReport& report, const std::function<bool(const CertificateRow&)>& has) {
  return std::any_of(report.rows.begin(), report.rows.end(), has);
}

bool has_decisions(const CertificateReport& report) {
  return any(report, [](const CertificateRow& row) { return row.decisions.has_value(); });
}

std::string streams_section(const CertificateRow& row) {
  TextTable table({"stream", "output norm", "measured p50", "measured max", "certified p50",
                   "certified max", "vacuous", "true - projected", "MSE floor"});
  for (const StreamCertificateFigures& stream : row.streams) {
    table.add({stream.stream, format_short(stream.output_norm), format_short(stream.measured.p50),
               format_short(stream.measured.max), bound(stream.certified.p50),
               bound(stream.certified.max), percent(stream.vacuous),
               format_short(stream.projection), format_short(stream.floor)});
  }
  return "\n### Streams of " + row.row + "\n\n" + table.markdown();
}

std::string attention_section(const CertificateRow& row, const char* title,
                              const std::optional<AttentionFigures>& figures) {
  if (!figures) return "";
  TextTable table({"layer", "measured p50", "certified p50", "C measured p50", "C measured p95",
                   "C certified p50", "C certified p95", "least bound"});
  for (const AttentionLayerFigures& layer : figures->layers) {
    table.add({std::to_string(layer.layer), percent(layer.measured.p50),
               bound_percent(layer.certified.p50), format_short(layer.c_measured.p50),
               format_short(layer.c_measured.p95), bound(layer.c_certified.p50),
               bound(layer.c_certified.p95), std::string(1, layer.binding)});
  }
  return "\n### Attention after " + row.row + ", " + title + " (" +
         std::to_string(figures->queries) + " queries; " + std::to_string(figures->left_out) +
         " sequences left out for infinite bounds)\n\n" + table.markdown();
}

std::string seed_line(const CertificateReport& report) {
  std::string text = "Seed formula (" + std::string(seed_formula({}).why_no_bound) +
                     "): with its own numbers " + format_short(seed_formula({}).value);
  for (const CertificateRow& row : report.rows) {
    text += "; " + row.row + " " + format_short(row.seed_formula);
  }
  return text + ".\n";
}

std::string limits_line(const CertificateReport& report) {
  return "Statistical limits: all " + std::to_string(report.statements) + " hold together with " +
         percent(report.confidence) + " confidence (Bonferroni).\n";
}

std::string absent_lines(const CertificateReport& report) {
  std::string text;
  for (const std::string& row : report.absent) text += "Not certified: " + row + ".\n";
  return text;
}

std::string gate_line(const CertificateReport& report) {
  const bool passed = report.gate.verdict == Verdict::kPassed;
  const bool failed = report.gate.verdict == Verdict::kFailed;
  return std::string("Certificates: ") +
         (passed   ? "PASS"
          : failed ? "FAIL"
                   : "INCONCLUSIVE") +
         ", " + report.gate.why + ".\n";
}

constexpr const char* kCertificateDefinitions = R"(
- measured: on these tokens; certified: proved for every cache that has these FP8 codes, by codes and
  weights alone; statistical ("at most"): of the population that the documents were drawn from.
- input: |x - x_hat| / |x_hat| of all numbers that are sent for a token; output: |P(x) - P(x_hat)| of a
  stream / the median |P(x_hat)|, both medians over tokens (and streams).
- vacuous: share of tokens and streams whose certified bound is at least the output's own norm: a cache of
  zeros would satisfy it too. It holds, and says nothing.
- RMS model: what uniform rounding errors would make on average; no bound.
- relative error: |true - projected| / |true| of a document, mean over streams, clipped at 1; "mean at most"
  by betting. Of the row as it is evaluated: its cache is rounded where the checkpoint names a wire.
- R² at most: pooled over streams, what no projector of this form can exceed on a sample of at most 2,048 held-out
  tokens, whatever its training (measured).
- MSE floor: the same for one stream, as mean squared error of an element.
- attention: change of a layer's attention output / that output, under the queries that the receiver asks
  after the true cache. "rounding": P(x) against P(x_hat), from codes alone; "projection and rounding": the true
  cache against P(x_hat), both known. C: the same / relative change of the keys and values that are read.
- "at most" and the changed decisions count one sequence a document. certified against rounding: decisions that no cache with these codes would change; certified fully: proved
  equal to those on the true cache by distances alone. violations: measured above certified; must be 0.
)";

}  // namespace

std::string to_text(const CertificateReport& report) {
  if (report.rows.empty()) return absent_lines(report) + gate_line(report);
  std::string text = wire_table(report).aligned() + "\n" + projection_table(report).aligned();
  if (has_decisions(report)) text += "\n" + decision_table(report).aligned();
  return text + "\n" + limits_line(report) + seed_line(report) + absent_lines(report) +
         gate_line(report);
}

std::string to_markdown(const CertificateReport& report) {
  std::string text = "## Certificates\n\n";
  if (report.rows.empty()) return text + markdown_list(gate_line(report) + absent_lines(report));
  text += markdown_list(gate_line(report) + limits_line(report) + seed_line(report) +
                        absent_lines(report)) +
          "\nWhat rounding on the wire does:\n\n" + wire_table(report).markdown() +
          "\nWhat projection does:\n\n" + projection_table(report).markdown();
  if (has_decisions(report)) {
    text += "\nWhat both do to a task head's decisions:\n\n" + decision_table(report).markdown();
  }
  text += kCertificateDefinitions;
  for (const CertificateRow& row : report.rows) {
    text += streams_section(row) + attention_section(row, "rounding", row.attention_wire) +
            attention_section(row, "projection and rounding", row.attention_whole);
  }
  return text;
}

}  // namespace kvalign
