// The other ways of a projector that reads the receiver's cache, measured like its projection: the
// way back and both round trips of bidirectional, the reconstruction of autoencoder. Private to
// evaluate/.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kvalign/evaluate/bootstrap.h"
#include "kvalign/evaluate/report.h"
#include "passes.h"
#include "rows.h"

namespace kvalign {

// Of the rows that have such a way and read caches as they are, in order; empty and without a pass
// where none does. `mean_RD` as test_mean gives it; `bootstrap` draws the documents of `sequences`.
std::vector<RoundTripRow> measure_round_trips(const PassContext& context,
                                              const std::vector<int64_t>& sequences,
                                              const at::Tensor& mean_RD,
                                              const std::vector<Row>& rows,
                                              const Bootstrap& bootstrap);

}  // namespace kvalign
