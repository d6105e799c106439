// f of the task term: mean over the tokens of a sequence, then one linear map to class scores. It
// is trained on true receiver caches and then frozen, until fine-tuning goes on with it; it stands
// for a downstream task and is small enough to train in seconds.
//
// Shapes:  R streams   T tokens   D receiver width   B sequences   C = R * D   K classes
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kvalign/format/export.h"

namespace kvalign {

class OptionVisitor;

struct KVALIGN_API TaskHead {
  at::Tensor weight_KC;  // float32
  at::Tensor bias_K;

  // Class scores [B, K] of packed caches; offsets as for mean_pool(). Differentiable in the cache.
  at::Tensor logits(const at::Tensor& cache_RTD, const at::Tensor& sequence_offsets) const;

  // Class scores [B, K] of pooled caches [B, C].
  at::Tensor logits_of_pooled(const at::Tensor& pooled_BC) const;

  TaskHead to(const at::Device& device) const;
};

// A task head as an optimiser sees it: of features (pooled - mean) / scale, so that one learning
// rate suits channels of every size.
struct KVALIGN_API StandardisedTaskHead {
  at::Tensor weight_KC, bias_K;  // float32, of the standardised features
  at::Tensor mean_C, scale_C;    // float32, constants

  // The same scores from raw pooled caches; differentiable in weight and bias. With means of 0 and
  // scales of 1 these are their very bits.
  TaskHead folded() const;

  StandardisedTaskHead to(const at::Device& device) const;
};

struct KVALIGN_API TaskHeadOptions {
  int64_t max_iterations = 100;  // of L-BFGS over all training sequences at once
  double weight_decay = 1e-2;    // times half the squared norm of the weights; biases are free

  void describe(OptionVisitor& visitor);
};

struct TaskHeadData {
  at::Tensor pooled_BC;  // float32, CPU: mean_pool of true receiver caches
  at::Tensor labels_B;   // int64 in [0, K)
};

struct TaskHeadFit {
  TaskHead head;
  double training_accuracy = 0;
  double held_out_accuracy = 0;
  double majority_accuracy = 0;  // held out, of always answering the commonest training label
  at::Tensor mean_C, scale_C;    // of the training sequences: what it was standardised with
};

// Multinomial logistic regression on features standardised over the training sequences (folded into
// the result, which reads raw pooled caches). K is the largest training label + 1. Deterministic.
// Errors: c10::Error for empty data, shapes that do not fit, negative labels, fewer than two
// classes.
KVALIGN_API TaskHeadFit train_task_head(const TaskHeadData& training, const TaskHeadData& held_out,
                                        const TaskHeadOptions& options);

// `head`, which reads raw pooled caches, as a function of features with that mean and scale.
KVALIGN_API StandardisedTaskHead standardise(const TaskHead& head, const at::Tensor& mean_C,
                                             const at::Tensor& scale_C);

}  // namespace kvalign
