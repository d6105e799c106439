// The passes over the data that an evaluation makes, each batch by batch. Private to evaluate/.
//
// Shapes:  R streams   D width   Q sequences   C = R * D
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "kvalign/dataset/loader.h"
#include "kvalign/evaluate/evaluate.h"
#include "kvalign/evaluate/reconstruction.h"
#include "kvalign/evaluate/worst_tokens.h"
#include "rows.h"
#include "task_agreement.h"

namespace kvalign {

// What all passes share.
struct PassContext {
  std::shared_ptr<const PairedDataset> dataset;
  int64_t skip_first_tokens = 0;
  int64_t batch_tokens = 0;
  at::Device device;
  EvaluateProgress progress;
};

// Calls `use` with each batch, in the order of `sequences`.
template <class Use>
void for_each_batch(const PassContext& context, const std::vector<int64_t>& sequences,
                    const std::string& what, const Use& use) {
  BatchLoader loader(context.dataset, sequences,
                     {.batch_tokens = context.batch_tokens,
                      .shuffle = false,
                      .skip_first_tokens = context.skip_first_tokens});
  const int64_t num_batches = loader.num_batches(0);
  loader.start(0);
  PairedBatch batch;
  for (int64_t done = 1; loader.next(batch); ++done) {
    use(batch);
    if (context.progress) context.progress(what, done, num_batches);
  }
}

struct TrainingPass {
  at::Tensor mean_RD;  // float32, CPU
  PooledSplit pooled;  // only where the dataset has labels
};
TrainingPass read_training_split(const PassContext& context, const std::vector<int64_t>& sequences);

// [R, D] float32 on the CPU: the mean that r2 is about.
at::Tensor test_mean(const PassContext& context, const std::vector<int64_t>& sequences);

struct RowErrors {
  ErrorSums sums;
  std::vector<WorstToken> worst_tokens;
  at::Tensor pooled_QC;  // projected; only where the dataset has labels
};
struct TestPass {
  std::vector<int64_t> documents;  // [Q], in the order of all sums
  TargetSums targets;
  PooledSplit pooled;  // true caches; only where the dataset has labels
  std::vector<RowErrors> rows;
};
// Every batch is read once and projected by each row in turn.
TestPass measure_test_split(const PassContext& context, const std::vector<int64_t>& sequences,
                            const at::Tensor& mean_RD, const std::vector<Row>& rows,
                            int64_t num_worst_tokens);

}  // namespace kvalign
