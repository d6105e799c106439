// Which sender layers feed which receiver layer: the layer map of a pair of models.
// It knows layer numbers only; feature_plan.h turns them into tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

class OptionVisitor;

struct KVALIGN_API LayerMapOptions {
  std::string kind = "nearest_depth";  // nearest_depth, last_aligned, top_k or all
  // top_k only: the sender layers of receiver layer 0, then of layer 1, and so on; k of each.
  std::vector<int64_t> layers = {};
  std::string features = "own";  // own: keys from keys and values from values; both: from both

  void describe(OptionVisitor& visitor);
};

// For each receiver layer l of Lr the sender layers of Ls that feed it, in the order in which their
// features are concatenated:
//   nearest_depth  round(l (Ls - 1) / (Lr - 1)), halves up: equal relative depth;
//                  a receiver of one layer reads the last sender layer
//   last_aligned   max(0, Ls - Lr + l): counted from the last layer, the first one serves the rest
//   top_k          options.layers, k = options.layers.size() / Lr for each
//   all            0 .. Ls - 1
// Errors: c10::Error for an unknown kind, for `layers` that do not divide evenly, are missing, name
// a layer that the sender lacks, or are given for another kind.
KVALIGN_API std::vector<std::vector<int64_t>> map_layers(const LayerMapOptions& options,
                                                         int64_t num_sender_layers,
                                                         int64_t num_receiver_layers);

}  // namespace kvalign
