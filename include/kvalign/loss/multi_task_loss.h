// The training loss: a weighted sum of named terms, each reported by itself.
//   total = mse * MSE + cosine * (1 - cos) + task * CE(f(predicted), f(target))
//           + attention * (relative error of attention outputs) + kl * KL(receiver)
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/loss/loss_term.h"
#include "kvalign/loss/receiver_reading.h"
#include "kvalign/loss/task_head.h"

namespace kvalign {

class OptionVisitor;

struct KVALIGN_API LossOptions {
  double mse = 1.0;  // weights of the terms; 0 leaves a term out
  double cosine = 0.5;
  double task = 1.0;                 // needs a task head, so a dataset with labels
  std::string task_target = "hard";  // hard: the head's class on the true cache; soft: its softmax
  TaskHeadOptions task_head;
  double attention = 0;  // these two need the receiver itself
  double kl = 0;
  std::string receiver;              // its Hugging Face folder
  int64_t continuation_tokens = 64;  // it predicts the last so many of a training sequence
  int64_t reread = 0;                // and computes so many before them itself

  void describe(OptionVisitor& visitor);
};

struct LossValue {
  at::Tensor total;                                       // scalar, differentiable
  std::vector<std::pair<std::string, at::Tensor>> terms;  // unweighted, detached, in a fixed order
};

class KVALIGN_API MultiTaskLoss {
 public:
  // `task_head` and the receiver on the device of the batches. Errors: c10::Error when every weight
  // is 0, one is negative, options.task > 0 without a head, or options.attention or options.kl > 0
  // without a reading.
  MultiTaskLoss(const LossOptions& options, std::optional<TaskHead> task_head,
                std::shared_ptr<const ReceiverReading> reading = nullptr);

  // One term alone, of weight 1.
  explicit MultiTaskLoss(std::unique_ptr<LossTerm> term);

  // Reads nothing back to the host. predicted_RTD may have a lower precision than target_RTD
  // (autocast); the terms work in the target's. Errors: c10::Error for shapes that differ.
  LossValue compute(const LossInput& input) const;

  // Names of the terms in use, in the order of LossValue::terms.
  std::vector<std::string> term_names() const;

 private:
  struct WeightedTerm {
    double weight;
    std::unique_ptr<LossTerm> term;
  };
  std::vector<WeightedTerm> terms_;
};

}  // namespace kvalign
