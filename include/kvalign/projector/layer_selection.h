// The sender layers that a receiver layer reads, chosen by what they explain of held-out data:
// greedy forward selection. The choice is made on sums (ridge_statistics.h) over all sender layers,
// so that it costs no pass over the data.
#pragma once

#include <cstdint>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/projector/ridge_statistics.h"

namespace kvalign {

/// For each receiver layer the `count` sender layers, best first, whose keys and values together
/// leave the least error of the receiver layer's keys and values on `held_out` after a ridge fit on
/// `training` with penalty `lambda` (ridge.h has its unit). Both are sums of layer map all with
/// features both. Errors are taken relative to a stream's variance, over every 16th output where a
/// stream has 128 or more. Throws c10::Error for sums of another layer map, and a count that is not
/// 1 .. num_sender_layers.
KVALIGN_API std::vector<std::vector<int64_t>> select_layers(const RidgeStatistics& training,
                                                            const RidgeStatistics& held_out,
                                                            int64_t num_sender_layers,
                                                            int64_t count, double lambda);

}  // namespace kvalign
