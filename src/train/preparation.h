// What a new run measures before its first step: statistics of the training split and, for the task
// term, a task head. Each in one pass; a resumed run takes both from its state.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/dataset/split.h"
#include "kvalign/loss/receiver_reading.h"
#include "kvalign/loss/task_head.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/recipe.h"

namespace kvalign {

struct Preparation {
  std::optional<FeatureStatistics> statistics;     ///< where the recipe standardises
  std::optional<FeatureStatistics> receiver_part;  ///< likewise, of projectors that have that part
  std::optional<TaskHeadFit> task_head;            ///< where the task term has a weight; on the CPU
};

/// Throws c10::Error where the task term has a weight and the dataset no labels.
Preparation prepare(const Recipe& recipe, std::shared_ptr<const PairedDataset> dataset,
                    const Split& split, const KvProjector& projector);

/// What the terms `attention` and `kl` read with; null where neither has a weight. Throws
/// std::invalid_argument without loss.receiver, std::runtime_error for another model than the
/// dataset's receiver and a dataset without token ids.
std::shared_ptr<const ReceiverReading> open_receiver_reading(
    const Recipe& recipe, std::shared_ptr<const PairedDataset> dataset, c10::Device device);

/// The receiver of the dataset from its folder; `option` names where that was given. Throws as
/// above.
std::shared_ptr<const Decoder> open_receiver(const std::string& folder, const std::string& option,
                                             const PairedDataset& dataset, c10::Device device);

/// A checkpoint of `projector` with where it comes from; `metrics` is a JSON object.
Checkpoint make_checkpoint(const Recipe& recipe, const PairedDataset& dataset, const Split& split,
                           std::shared_ptr<KvProjector> projector, std::string metrics);

/// Loader options with the fields that a recipe keeps elsewhere filled in.
LoaderOptions loader_options(const Recipe& recipe, const PairedDataset& dataset, bool shuffle);

}  // namespace kvalign
