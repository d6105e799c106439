// Row by row. See certify.h.
#include "certify.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>

#include "attention_certificate.h"
#include "certify_attention.h"
#include "decision_certificate.h"
#include "kvalign/bounds/mean_interval.h"
#include "kvalign/bounds/quantile_limit.h"
#include "kvalign/bounds/rate_limit.h"
#include "kvalign/bounds/seed_formula.h"
#include "kvalign/evaluate/percentiles.h"
#include "kvalign/evaluate/stream_certificate.h"
#include "rank_floors.h"
#include "row_certificate.h"

namespace kvalign {
namespace {

constexpr int64_t kFloorTokens = 2048;
constexpr double kToleranceCoverage = 0.95;
constexpr int64_t kProjectionStatements = 4;  // three limits of a mean, one of a quantile
constexpr int64_t kDecisionStatements = 3;    // two sides of a rate, a paired difference

// `count` of `total` places, evenly spaced; all where count is 0 or too large.
std::vector<int64_t> evenly_spaced(int64_t total, int64_t count) {
  if (count <= 0 || count > total) count = total;
  std::vector<int64_t> places;
  for (int64_t i = 0; i < count; ++i) places.push_back(i * total / count);
  return places;
}

// The chosen tokens of the chosen sequences.
struct Sample {
  std::vector<int64_t> sequences;
  std::vector<at::Tensor> sender_STd;  // [sequences] whole sequences, without the skipped tokens
  std::vector<at::Tensor> places;      // [sequences] int64
  LabelledTokens tokens;               // those at `places`
};

Sample draw_sample(const CertifyOptions& options, const CertifyContext& context) {
  Sample sample;
  sample.tokens.offsets.push_back(0);
  const PairedDataset& dataset = *context.data.dataset;
  std::vector<at::Tensor> targets;
  for (const int64_t place :
       evenly_spaced(static_cast<int64_t>(context.sequences.size()), options.sequences)) {
    const int64_t sequence = context.sequences[static_cast<size_t>(place)];
    const PairedBatch batch = dataset.read({sequence}, context.data.skip_first_tokens);
    const at::Tensor places =
        at::tensor(evenly_spaced(batch.num_tokens(), options.tokens), at::kLong);
    sample.sequences.push_back(sequence);
    sample.sender_STd.push_back(batch.sender_STd);
    sample.places.push_back(places);
    targets.push_back(batch.receiver_RTD.index_select(1, places).to(at::kDouble));
    sample.tokens.offsets.push_back(sample.tokens.offsets.back() + places.numel());
    sample.tokens.documents.push_back(dataset.document(sequence));
    if (context.task) sample.tokens.labels.push_back(dataset.label(sequence).value());
  }
  sample.tokens.target_RTD = at::cat(targets, 1);
  return sample;
}

// Of each document the mean over streams of the relative error, clipped at 1; sequences of one
// document are one sample.
ProjectionLimits limits_of(const ErrorSums& errors, const TestPass& pass, double confidence) {
  std::map<int64_t, std::vector<int64_t>> documents;  // places of their sequences
  for (size_t q = 0; q < pass.documents.size(); ++q) {
    documents[pass.documents[q]].push_back(static_cast<int64_t>(q));
  }
  ProjectionLimits limits;
  std::vector<double> samples;
  for (const auto& [document, places] : documents) {
    const at::Tensor places_Q = at::tensor(places, at::kLong);
    const at::Tensor ratio_R = errors.squared_error_QR.index_select(0, places_Q).sum(0) /
                               pass.targets.squared_norm_QR.index_select(0, places_Q).sum(0);
    const double error = ratio_R.sqrt().nanmean().item<double>();
    limits.clipped += error > 1;
    samples.push_back(std::min(error, 1.0));
  }
  limits.documents = static_cast<int64_t>(samples.size());
  for (const double sample : samples) limits.mean += sample / static_cast<double>(samples.size());
  const auto upper = [&](MeanMethod method) {
    return mean_upper(samples, DeclaredRange{0, 1}, confidence, method).value();
  };
  limits.mean_upper = upper(MeanMethod::kBetting);
  limits.mean_upper_hoeffding = upper(MeanMethod::kHoeffding);
  if (samples.size() > 1) limits.mean_upper_bernstein = upper(MeanMethod::kEmpiricalBernstein);
  limits.tolerance = tolerance_limit(samples, kToleranceCoverage, confidence).value();
  return limits;
}

double seed_formula_of(const std::vector<StreamCertificateFigures>& streams, int64_t features) {
  double distance = 0;
  for (const StreamCertificateFigures& stream : streams) {
    distance += stream.projection / static_cast<double>(streams.size());
  }
  return seed_formula({.projection_error = distance, .sender_width = features}).value;
}

void fill_floors(CertificateRow& result, const Row& row, const RankFloors& floors) {
  const Projector& projector = row.projector->projector();
  const int64_t dimensions = output_dimensions(projector);
  for (size_t r = 0; r < result.streams.size(); ++r) {
    result.streams[r].floor = floors.stream(static_cast<int64_t>(r), dimensions);
  }
  // One space for all streams only where all are made of the same numbers, and nothing that differs
  // from stream to stream, as a norm's divisor does, comes after.
  const ProjectorOptions& options = projector.options();
  const bool shared =
      options.kind != "mlp" && options.norm == "none" && projector.shape().num_groups == 1;
  if (shared) result.largest_r2 = floors.largest_r2(dimensions);
}

CertificateRow certify_tokens(const Row& row, const std::vector<StreamCertificate>& certificates,
                              const CertifyOptions& options, const CertifyContext& context,
                              const Sample& sample, const RankFloors& floors, double confidence) {
  std::vector<SentTokens> parts;
  for (size_t b = 0; b < sample.sequences.size(); ++b) {
    parts.push_back(select_tokens(
        send_tokens(row, parse_fp8_wire(options.wire), sample.sender_STd[b]), sample.places[b]));
  }
  const SentTokens sent = join_tokens(parts);
  const RowMoves moves = certify_row(row, certificates, sent);
  CertificateRow result{.row = row.name,
                        .text = row.text,
                        .wire = row.wire.empty() ? options.wire : row.wire,
                        .tokens = sent.decoded_GTF.size(1),
                        .sequences = static_cast<int64_t>(sample.sequences.size()),
                        .unbounded = sent.num_unbounded,
                        .violations = sent.num_violations + moves.violations(),
                        .numeric = moves.numeric};
  result.quantisation_measured = percentiles_of(to_list(sent.measured_T));
  result.quantisation_certified = percentiles_of(to_list(sent.certified_T));
  result.quantisation_model = percentiles_of(to_list(sent.model_T)).p50;
  result.streams = stream_figures(moves, sample.tokens.target_RTD,
                                  context.data.dataset->receiver_stream_names());
  result.seed_formula = seed_formula_of(result.streams, sent.decoded_GTF.size(2));
  fill_floors(result, row, floors);
  if (context.task && options.tokens == 0) {
    result.decisions = certify_decisions(context.task->head(), moves, sample.tokens, confidence);
  }
  return result;
}

}  // namespace

void check_certify_options(const CertifyOptions& options, bool has_labels) {
  if (options.max_task_distortion >= 1) return;
  if (has_labels && options.sequences > 0 && options.tokens == 0) return;
  throw std::invalid_argument(
      "certify: evaluate.certify.max_task_distortion is a gate on the decisions of a task head: "
      "expected a dataset with labels of two classes or more, sequences above 0 and tokens 0 "
      "(whole "
      "sequences), got " +
      std::string(has_labels ? "labels" : "no such labels") + ", sequences " +
      std::to_string(options.sequences) + " and tokens " + std::to_string(options.tokens) +
      ". Leave the gate at 1 to do without.");
}

CertificateReport certify(const std::vector<Row>& rows, const CertifyOptions& options,
                          const CertifyContext& context) {
  CertificateReport report{.confidence = options.confidence};
  std::vector<size_t> certified;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].checkpoint.empty()) continue;
    const std::string why = why_uncertified(rows[i]);
    why.empty() ? certified.push_back(i) : report.absent.push_back(rows[i].name + ": " + why);
    if (i == 0 && !why.empty() && options.max_task_distortion < 1) {
      throw std::invalid_argument(
          "certify: evaluate.certify.max_task_distortion judges the first "
          "checkpoint, " +
          rows[i].name + ", which has no certificate: " + why + ".");
    }
  }
  const int64_t decisions = context.task && options.tokens == 0 ? kDecisionStatements : 0;
  report.statements = static_cast<int64_t>(certified.size()) * (kProjectionStatements + decisions);
  if (certified.empty()) {
    report.gate = judge_certificates(report, options.max_task_distortion);
    return report;
  }
  const double each = simultaneous_confidence(options.confidence, report.statements);

  const Sample sample = draw_sample(options, context);
  const RankFloors floors(*context.data.dataset, context.sequences, context.data.skip_first_tokens,
                          kFloorTokens);
  std::optional<AttentionOfRows> attention;
  if (!options.receiver.empty()) attention.emplace(options, context, sample.sequences);
  for (const size_t i : certified) {
    const std::vector<StreamCertificate> certificates =
        stream_certificates(rows[i], [&](int64_t done, int64_t total) {
          if (!context.data.progress) return;
          context.data.progress("certificates of " + rows[i].name, done, total);
        });
    report.rows.push_back(
        certify_tokens(rows[i], certificates, options, context, sample, floors, each));
    report.rows.back().projection = limits_of(context.pass.rows[i].sums, context.pass, each);
    if (attention) attention->certify(rows[i], certificates, report.rows.back());
  }
  report.gate = judge_certificates(report, options.max_task_distortion);
  return report;
}

}  // namespace kvalign
