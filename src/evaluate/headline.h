// The figures that a report puts first, of the data and of each resample. Private to evaluate/.
//
// Shapes:  Q sequences   R streams   N resamples, after the data itself
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/evaluate/bootstrap.h"
#include "kvalign/evaluate/reconstruction.h"

namespace kvalign {

// Streams that are looked at together, by the name that reports use.
struct StreamGroup {
  std::string name;
  std::vector<int64_t> streams;
};

// keys, values and all; only all if flat.
std::vector<StreamGroup> stream_groups(int64_t num_streams, bool flat);

SummedErrors resample(const TargetSums& targets, const ErrorSums& errors,
                      const Bootstrap& bootstrap);

struct Headline {
  std::string name;
  at::Tensor figures_N;
};

// Those of NamedInterval in report.h, in its order.
std::vector<Headline> headlines(const SummedErrors& sums, const std::vector<StreamGroup>& groups);

}  // namespace kvalign
