// Fine-tunes a checkpoint for a task: a task head on the projected cache, the projector under it,
// or both learn the labels of a paired dataset, by cross-entropy. Whatever is not trained keeps its
// bits and is never given to the optimiser. The receiver's own caches only fit the head that
// training starts from, unless the checkpoint has one. Files and resumption are those of
// distiller.h; checkpoint.safetensors then holds the head too and is, where validation finds no
// better step, what training started from.
#pragma once

#include <string>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"
#include "kvalign/train/distiller.h"
#include "kvalign/train/recipe.h"

namespace kvalign {

struct KVALIGN_API FineTuneOptions {
  std::string checkpoint;      ///< path of what is fine-tuned
  std::string train = "head";  ///< head, projector or both

  void describe(OptionVisitor& visitor);
};

/// Of `recipe` the projector and the fit are the checkpoint's, and of the loss only task_head is
/// read: how the head that training starts from is fitted.
struct KVALIGN_API FineTuneRecipe {
  Recipe recipe;
  FineTuneOptions fine_tune;

  void describe(OptionVisitor& visitor);
};

/// The section of a recipe that is only fine-tuning's.
KVALIGN_API void describe_fine_tune(OptionVisitor& visitor, FineTuneOptions& fine_tune);

/// Throws as distill, and std::invalid_argument for a dataset without labels, std::runtime_error
/// for a checkpoint of other models or another split of this dataset (it has seen what is held out
/// here), and a label that the head does not have.
KVALIGN_API DistillResult fine_tune(const FineTuneRecipe& recipe,
                                    const DistillControl& control = {});

}  // namespace kvalign
