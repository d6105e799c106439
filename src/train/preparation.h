// What a new run measures before its first step: statistics of the training split and, for the task
// term, a task head. Each in one pass; a resumed run takes both from its state.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/dataset/split.h"
#include "kvalign/loss/task_head.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/recipe.h"

namespace kvalign {

struct Preparation {
  std::optional<FeatureStatistics> statistics;  ///< where the recipe standardises
  std::optional<TaskHeadFit> task_head;         ///< where the task term has a weight; on the CPU
};

/// Throws c10::Error where the task term has a weight and the dataset no labels.
Preparation prepare(const Recipe& recipe, std::shared_ptr<const PairedDataset> dataset,
                    const Split& split, const FeaturePlan& plan);

/// Loader options with the fields that a recipe keeps elsewhere filled in.
LoaderOptions loader_options(const Recipe& recipe, const PairedDataset& dataset, bool shuffle);

}  // namespace kvalign
