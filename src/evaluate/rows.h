// The rows of a report before they have numbers: something with a name that turns the sender's
// streams into the receiver's. Private to evaluate/.
//
// Shapes:  S sender streams   R receiver streams   T tokens   d sender width   D receiver width
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/evaluate/cost.h"
#include "kvalign/evaluate/evaluate_options.h"
#include "kvalign/evaluate/report.h"
#include "kvalign/loss/task_head.h"
#include "kvalign/ops/fp8_wire.h"
#include "kvalign/projector/kv_projector.h"

namespace kvalign {

struct Row {
  std::string name = {};
  std::string text = {};                        // what it is, for people
  std::string checkpoint = {};                  // path; empty for a baseline
  std::shared_ptr<KvProjector> projector = {};  // none for the mean
  int64_t rank = 0;                             // that its latent was cut to; 0: whole, or none
  // What crosses the network for it; empty: the cache, in the ladder's type. Else a latent, or the
  // cache as an Fp8Wire.
  std::string wire = {};
  int64_t wire_bytes_per_token = 0, wire_bytes_once = 0;
  int64_t num_parameters = 0;
  std::optional<TaskHead> task_head = {};  // of a fine-tuned checkpoint; on the CPU
  ProjectorSize size = {};                 // of a projector
  std::function<at::Tensor(const at::Tensor& sender_STd)> project = {};  // [S, T, d] -> [R, T, D]
  // The way back, of one sequence: [R, T, D] -> [S, T, d]; none for most kinds.
  std::function<at::Tensor(const at::Tensor& receiver_RTD)> compress = {};
  std::optional<Fp8Wire> fp8_wire = {};  // that the sender's cache crosses; none: all arrives
  int64_t num_kv_heads = 1;              // of the sender
};

// What the row reads of a sequence whose first tokens are not sent: those are as they were.
at::Tensor arrived(const Row& row, const at::Tensor& sender_STd, int64_t not_sent);

struct RowContext {
  const PairedDataset& dataset;
  std::string split_sha256;
  int64_t skip_first_tokens = 0;
  at::Device device;
};

// One row a checkpoint, in order. Throws std::runtime_error where a checkpoint is of other data,
// another split or other geometries, std::invalid_argument for two rows of one name. What is only
// odd is added to `warnings`.
std::vector<Row> checkpoint_rows(const EvaluateOptions& options, const RowContext& context,
                                 std::vector<std::string>& warnings);

// The baselines that make sense for the pair, but for `mean`; why the others are missing is added
// to `absent`.
std::vector<Row> baseline_rows(const EvaluateOptions& options, const RowContext& context,
                               std::vector<AbsentRow>& absent);

// The receiver's mean vector of each stream, whatever the sender says.
Row mean_row(const at::Tensor& mean_RD, int64_t num_train_sequences);

}  // namespace kvalign
