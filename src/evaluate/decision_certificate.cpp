// Margins of pooled outputs against pooled bounds. See decision_certificate.h.
#include "decision_certificate.h"

#include <ATen/ATen.h>

#include <set>

#include "kvalign/bounds/head_margin.h"
#include "kvalign/bounds/rate_limit.h"
#include "kvalign/evaluate/stream_certificate.h"

namespace kvalign {
namespace {

// A float64 norm of thousands of numbers, and a mean of thousands, is right to this.
constexpr double kMeasuredRounding = 1 + 0x1p-36;

// Of one sequence: the mean over tokens of the bounds of all streams together.
Certified pooled_bound(const at::Tensor& bounds_RT) {
  std::vector<Certified> tokens;
  for (int64_t token = 0; token < bounds_RT.size(1); ++token) {
    tokens.emplace_back(norm_upper(to_vector(bounds_RT.select(1, token))));
  }
  return mean_pooled_bound(tokens);
}

Eigen::VectorXd pooled(const at::Tensor& outputs_RTD) {
  return to_vector(outputs_RTD.mean(1).flatten());
}

}  // namespace

DecisionFigures certify_decisions(const TaskHead& head, const RowMoves& moves,
                                  const LabelledTokens& tokens, double confidence) {
  const LinearHead margins(to_matrix(head.weight_KC), to_vector(head.bias_K));
  const at::Tensor distance_RT =
      at::linalg_vector_norm(tokens.target_RTD - moves.decoded_RTD, 2, {2}) * kMeasuredRounding;
  const auto num_sequences = static_cast<int64_t>(tokens.labels.size());
  DecisionFigures figures{.sequences = num_sequences, .classes = head.bias_K.size(0)};
  PairedOutcomes outcomes;
  EventCount changed;
  std::set<int64_t> documents;
  int64_t wrong_on_true = 0;
  for (int64_t b = 0; b < num_sequences; ++b) {
    const auto place = static_cast<size_t>(b);
    const int64_t first = tokens.offsets[place], count = tokens.offsets[place + 1] - first;
    const auto part = [&](const at::Tensor& values) { return values.narrow(1, first, count); };
    const DecisionMargin ours = margins.margin(pooled(part(moves.decoded_RTD)));
    const DecisionMargin reference = margins.margin(pooled(part(tokens.target_RTD)));
    const bool fully = ours.certifies(pooled_bound(part(distance_RT)));
    const bool ours_right = ours.decision == tokens.labels[place];
    const bool reference_right = reference.decision == tokens.labels[place];
    const bool differs = ours.decision != reference.decision;
    figures.certified_quantisation += ours.certifies(pooled_bound(part(moves.certified_RT)));
    figures.certified_fully += fully;
    figures.disagreements += differs;
    figures.certified_disagreements += fully && differs;
    figures.correct_and_certified += fully && ours_right;
    wrong_on_true += !reference_right;
    if (!documents.insert(tokens.documents[place]).second) continue;
    ++changed.trials;
    changed.events += differs;
    outcomes.only_reference_right += reference_right && !ours_right;
    outcomes.only_ours_right += ours_right && !reference_right;
  }
  figures.base_distortion = static_cast<double>(wrong_on_true) / static_cast<double>(num_sequences);
  figures.documents = outcomes.samples = changed.trials;
  figures.task_distortion_lower = rate_lower(changed, confidence).value();
  figures.task_distortion_upper = rate_upper(changed, confidence).value();
  figures.degradation_upper = degradation_upper(outcomes, confidence).value();
  return figures;
}

}  // namespace kvalign
