// Errors below which no projector of a form can come on these tokens (rank_floor.h), from a sample
// of true vectors. Private to evaluate/.
//
// Shapes:  R streams   n tokens   D width
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kvalign/dataset/paired_dataset.h"

namespace kvalign {

class RankFloors {
 public:
  // At most `most_tokens`, evenly spaced over the sequences without their first `skip` tokens.
  RankFloors(const PairedDataset& dataset, const std::vector<int64_t>& sequences, int64_t skip,
             int64_t most_tokens);

  // Mean squared error of an element of one stream, where its outputs lie in an affine space of
  // `dimensions`.
  double stream(int64_t stream, int64_t dimensions) const;

  // The R² over all streams together that is not exceeded where all outputs of a token lie in one
  // affine space of `dimensions`, as those made from one latent do.
  double largest_r2(int64_t dimensions) const;

 private:
  at::Tensor centred_RnD_;  // float64
};

}  // namespace kvalign
