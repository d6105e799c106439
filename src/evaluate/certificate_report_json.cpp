// The key "certificates" of report.json. See certificate_report.h.
#include <nlohmann/json.hpp>

#include "json_number.h"
#include "kvalign/bounds/seed_formula.h"
#include "kvalign/evaluate/certificate_report.h"

namespace kvalign {
namespace {

using nlohmann::json;

json to_json(const StreamCertificateFigures& figures) {
  return {{"stream", figures.stream},
          {"output_norm", number(figures.output_norm)},
          {"measured", to_json(figures.measured)},
          {"certified", to_json(figures.certified)},
          {"vacuous", number(figures.vacuous)},
          {"projection", number(figures.projection)},
          {"floor", number(figures.floor)}};
}

json to_json(const std::optional<AttentionFigures>& figures) {
  if (!figures) return nullptr;
  json layers = json::array();
  for (const AttentionLayerFigures& layer : figures->layers) {
    layers.push_back({{"layer", layer.layer},
                      {"measured", to_json(layer.measured)},
                      {"certified", to_json(layer.certified)},
                      {"c_measured", to_json(layer.c_measured)},
                      {"c_certified", to_json(layer.c_certified)},
                      {"binding", std::string(1, layer.binding)}});
  }
  return {{"queries", figures->queries}, {"left_out", figures->left_out}, {"layers", layers}};
}

json to_json(const std::optional<DecisionFigures>& figures) {
  if (!figures) return nullptr;
  return {{"sequences", figures->sequences},
          {"documents", figures->documents},
          {"classes", figures->classes},
          {"certified_quantisation", figures->certified_quantisation},
          {"certified_fully", figures->certified_fully},
          {"correct_and_certified", figures->correct_and_certified},
          {"disagreements", figures->disagreements},
          {"certified_disagreements", figures->certified_disagreements},
          {"base_distortion", number(figures->base_distortion)},
          {"task_distortion_lower", number(figures->task_distortion_lower)},
          {"task_distortion_upper", number(figures->task_distortion_upper)},
          {"degradation_upper", number(figures->degradation_upper)}};
}

json to_json(const std::optional<ProjectionLimits>& limits) {
  if (!limits) return nullptr;
  return {{"documents", limits->documents},
          {"clipped", limits->clipped},
          {"mean", number(limits->mean)},
          {"mean_upper",
           {{"betting", number(limits->mean_upper)},
            {"empirical_bernstein", number(limits->mean_upper_bernstein)},
            {"hoeffding", number(limits->mean_upper_hoeffding)}}},
          {"tolerance", number(limits->tolerance)}};
}

json to_json(const CertificateRow& row) {
  json streams = json::array();
  for (const StreamCertificateFigures& stream : row.streams) streams.push_back(to_json(stream));
  return {{"row", row.row},
          {"text", row.text},
          {"wire", row.wire},
          {"tokens", row.tokens},
          {"sequences", row.sequences},
          {"saturated", row.unbounded},
          {"violations", row.violations},
          {"numeric", number(row.numeric)},
          {"seed_formula",
           {{"value", number(row.seed_formula)},
            {"why_no_bound", std::string(seed_formula({}).why_no_bound)}}},
          {"quantisation",
           {{"measured", to_json(row.quantisation_measured)},
            {"certified", to_json(row.quantisation_certified)},
            {"rms_model", number(row.quantisation_model)}}},
          {"streams", streams},
          {"largest_r2", number(row.largest_r2)},
          {"projection", to_json(row.projection)},
          {"attention", to_json(row.attention_wire)},
          {"attention_whole", to_json(row.attention_whole)},
          {"decisions", to_json(row.decisions)}};
}

const char* verdict_name(Verdict verdict) {
  if (verdict == Verdict::kPassed) return "passed";
  return verdict == Verdict::kFailed ? "failed" : "inconclusive";
}

}  // namespace

json to_json(const CertificateReport& report) {
  json rows = json::array();
  for (const CertificateRow& row : report.rows) rows.push_back(to_json(row));
  return {{"confidence", report.confidence},
          {"statements", report.statements},
          {"rows", rows},
          {"absent", report.absent},
          {"gate",
           {{"passed", report.gate.verdict == Verdict::kPassed},
            {"verdict", verdict_name(report.gate.verdict)},
            {"why", report.gate.why}}}};
}

}  // namespace kvalign
