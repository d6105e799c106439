// Tensors of a module or an optimiser by name: what states and checkpoints are made of.
#pragma once

#include <torch/nn/module.h>

#include <string>
#include <vector>

#include "kvalign/core/safetensors.h"
#include "kvalign/projector/kv_projector.h"

namespace kvalign {

/// Parameters and buffers with `prefix` before each name; shared, not copied.
std::vector<NamedTensor> named_tensors(const torch::nn::Module& module, const std::string& prefix);

/// Copies from `saved` into each of `own`. Throws c10::Error naming a missing tensor or a wrong
/// shape; `where` opens the text. Tensors of `saved` that are not in `own` are left alone.
void copy_by_name(const std::vector<NamedTensor>& own, const std::vector<NamedTensor>& saved,
                  const std::string& where);

/// Those of `tensors` whose names start with `prefix`, without it.
std::vector<NamedTensor> with_prefix_removed(const std::vector<NamedTensor>& tensors,
                                             const std::string& prefix);

/// Whether a module whose tensors these are standardises its features or outputs.
bool has_statistics(const std::vector<NamedTensor>& tensors);

/// Mean 0 and scale 1 of every feature and target.
FeatureStatistics identity_statistics(const ProjectorShape& shape);
/// Means of 0 and scales of 1: they give a new projector the buffers that saved ones go into.
void set_identity_statistics(const KvProjector& projector);

}  // namespace kvalign
