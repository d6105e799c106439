// One term of the training loss: a scalar that compares a projected cache with the true one. Each
// term is one class in one file, and multi_task_loss.h adds them up with weights.
//
// Shapes:  R streams   T tokens (sequences packed)   D receiver width   B sequences
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/ops/row_products.h"

namespace kvalign {

struct LossInput {
  at::Tensor predicted_RTD;     // floating point; gradients flow into it
  at::Tensor target_RTD;        // the same shape, dtype and device
  at::Tensor sequence_offsets;  // int64 [B + 1] on the CPU: 0 .. T, strictly increasing
  std::vector<int64_t> sequences =
      {};  // [B] numbers in the dataset; terms with a receiver need them
  // Number of the training step: where caches end in terms with a receiver is then drawn from it.
  std::optional<int64_t> step = std::nullopt;
  at::Tensor labels_B = {};  // int64 [B] on the device; the term `label` needs them
  // Of predicted and target, where they are made already: MultiTaskLoss makes them once for all
  // terms that read them, so that these share a pass over the caches and one for the gradient.
  std::optional<RowProducts> products = std::nullopt;
};

class KVALIGN_API LossTerm {
 public:
  virtual ~LossTerm();

  // The word in recipes and logs: "mse".
  virtual std::string name() const = 0;

  // A scalar of the input's dtype and device; smaller is better.
  virtual at::Tensor compute(const LossInput& input) const = 0;

  // Does compute() ask for products_of(input)?
  virtual bool reads_products() const { return false; }
};

// row_products of predicted and target.
RowProducts products_of(const LossInput& input);

}  // namespace kvalign
