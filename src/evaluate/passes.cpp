// Reads the splits. See passes.h.
#include "passes.h"

#include <ATen/ATen.h>

#include "kvalign/loss/pooling.h"

namespace kvalign {
namespace {

// Pooled caches and labels, batch by batch.
class Pooler {
 public:
  void add(const at::Tensor& cache_RTD, const at::Tensor& sequence_offsets) {
    pooled_.push_back(mean_pool(cache_RTD, sequence_offsets).to(at::kCPU));
  }
  at::Tensor pooled() const { return pooled_.empty() ? at::Tensor() : at::cat(pooled_); }

 private:
  std::vector<at::Tensor> pooled_;
};

at::Tensor labels_of(const PairedDataset& dataset, const std::vector<int64_t>& sequences) {
  if (!dataset.has_labels()) return {};
  std::vector<int64_t> labels;
  labels.reserve(sequences.size());
  for (const int64_t sequence : sequences) labels.push_back(dataset.label(sequence).value());
  return at::tensor(labels, at::kLong);
}

// The row's projection of a batch, of which every sequence is sent on its own.
at::Tensor project_batch(const Row& row, const at::Tensor& sender_STd,
                         const at::Tensor& sequence_offsets) {
  if (!row.fp8_wire) return row.project(sender_STd);
  return row.project(send_caches(*row.fp8_wire, sender_STd, sequence_offsets, row.num_kv_heads));
}

struct RowAccumulators {
  ErrorAccumulator errors;
  WorstTokens worst_tokens;
  Pooler pooler;
};

}  // namespace

TrainingPass read_training_split(const PassContext& context,
                                 const std::vector<int64_t>& sequences) {
  StreamMean mean;
  Pooler pooler;
  for_each_batch(context, sequences, "training split", [&](const PairedBatch& batch) {
    mean.add(batch.receiver_RTD);
    if (context.dataset->has_labels()) pooler.add(batch.receiver_RTD, batch.sequence_offsets);
  });
  return {.mean_RD = mean.mean(),
          .pooled = {pooler.pooled(), labels_of(*context.dataset, sequences)}};
}

at::Tensor test_mean(const PassContext& context, const std::vector<int64_t>& sequences) {
  StreamMean mean;
  for_each_batch(context, sequences, "test split, mean",
                 [&](const PairedBatch& batch) { mean.add(batch.receiver_RTD); });
  return mean.mean();
}

TestPass measure_test_split(const PassContext& context, const std::vector<int64_t>& sequences,
                            const at::Tensor& mean_RD, const std::vector<Row>& rows,
                            int64_t num_worst_tokens) {
  const at::NoGradGuard no_gradients;
  const bool has_labels = context.dataset->has_labels();
  TargetAccumulator targets(mean_RD.to(context.device));
  Pooler target_pooler;
  std::vector<RowAccumulators> accumulators(
      rows.size(), {.errors = {}, .worst_tokens = WorstTokens(num_worst_tokens), .pooler = {}});
  for_each_batch(context, sequences, "test split", [&](const PairedBatch& batch) {
    const at::Tensor sender_STd = batch.sender_STd.to(context.device);
    const at::Tensor target_RTD = batch.receiver_RTD.to(context.device);
    targets.add(target_RTD, batch.sequence_offsets);
    if (has_labels) target_pooler.add(target_RTD, batch.sequence_offsets);
    for (size_t i = 0; i < rows.size(); ++i) {
      const at::Tensor predicted_RTD = project_batch(rows[i], sender_STd, batch.sequence_offsets);
      const TokenErrors errors =
          accumulators[i].errors.add(predicted_RTD, target_RTD, batch.sequence_offsets);
      accumulators[i].worst_tokens.add(errors, batch.sequence_offsets, batch.sequences,
                                       context.skip_first_tokens);
      if (has_labels) accumulators[i].pooler.add(predicted_RTD, batch.sequence_offsets);
    }
  });
  TestPass pass{.documents = {},
                .targets = targets.sums(),
                .pooled = {target_pooler.pooled(), labels_of(*context.dataset, sequences)},
                .rows = {}};
  for (const int64_t sequence : sequences) {
    pass.documents.push_back(context.dataset->document(sequence));
  }
  for (const RowAccumulators& row : accumulators) {
    pass.rows.push_back({row.errors.sums(), row.worst_tokens.tokens(), row.pooler.pooled()});
  }
  return pass;
}

}  // namespace kvalign
