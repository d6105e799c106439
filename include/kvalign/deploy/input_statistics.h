// What the numbers that arrive looked like in training: mean and scale of each, and the largest
// token. The guard measures a request in these units, and so does the drift test. Checkpoints have
// their own standardisation folded into the weights, so it is measured again.
//
// Shapes:  T tokens   F numbers of a token: of all sender streams, or of a low_rank latent
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/train/recipe.h"

namespace kvalign {

struct InputStatistics {
  at::Tensor mean_F = {}, scale_F = {};  ///< float32, on the CPU
  double largest_token_rms = 1;          ///< of the training tokens' standardised numbers
  std::string checkpoint = {};           ///< SHA-256 of the file
};

/// Root mean square of each token's standardised numbers. rows_TF: float32. float32 [T]; NaN or
/// infinite where a number is.
KVALIGN_API at::Tensor token_rms(const InputStatistics& statistics, const at::Tensor& rows_TF);

/// Mean over tokens of the logarithm of the mean squared standardised number: what the drift test
/// looks at. rms_T: of token_rms.
KVALIGN_API double drift_score(const at::Tensor& rms_T);

/// Of the recipe's training sequences, as the sender sends them to this checkpoint, and the scores
/// of its held-out ones (validation and test), ascending.
struct ServingReference {
  InputStatistics statistics = {};
  std::vector<double> drift_scores = {};
};

/// Throws std::runtime_error as load_checkpoint, and where the recipe's dataset or split is not the
/// one that the checkpoint was trained on.
KVALIGN_API ServingReference measure_serving_reference(const std::string& checkpoint,
                                                       const Recipe& recipe);

/// {"schema": 1, "checkpoint": SHA-256, "scores": [...]}.
KVALIGN_API nlohmann::json drift_reference_json(const ServingReference& reference);

KVALIGN_API void save_input_statistics(const std::string& path, const InputStatistics& statistics);

/// Throws std::runtime_error naming the file for anything that save_input_statistics does not
/// write.
KVALIGN_API InputStatistics load_input_statistics(const std::string& path);

}  // namespace kvalign
