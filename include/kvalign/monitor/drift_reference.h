// What requests are compared with: the drift scores of held-out data, in a file beside the
// checkpoint they belong to.
//
//   {"schema": 1, "checkpoint": "<64 hexadecimal digits>", "scores": [-0.31, -0.02, ...]}
#pragma once

#include <string>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

struct DriftReference {
  std::string checkpoint = {};      ///< SHA-256 of the checkpoint's file, in hexadecimal digits
  std::vector<double> scores = {};  ///< one a held-out sequence, finite
};

/// Sorted, in one step. Throws std::invalid_argument where the reader below would, and
/// std::runtime_error where the file cannot be written.
KVALIGN_API void write_drift_reference(const std::string& path, const DriftReference& reference);

/// Throws std::runtime_error where the file cannot be read, and std::invalid_argument that names
/// the file for what is no such JSON, an unknown key, a score that is no number, no scores, or
/// scores of another checkpoint than `checkpoint`.
KVALIGN_API DriftReference read_drift_reference(const std::string& path,
                                                const std::string& checkpoint);

}  // namespace kvalign
