// Covariances of a sample and their tails. See rank_floors.h.
#include "rank_floors.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kvalign/bounds/rank_floor.h"
#include "kvalign/evaluate/stream_certificate.h"

namespace kvalign {
namespace {

// Sum of the eigenvalues of x'x / n beyond the first `dimensions`, x centred [n, D]: those of the
// smaller of x'x and xx', which differ by zeros.
double tail(const at::Tensor& centred_nD, int64_t dimensions) {
  const int64_t num_tokens = centred_nD.size(0), width = centred_nD.size(1);
  if (dimensions >= std::min(num_tokens, width)) return 0;
  const at::Tensor products = (width <= num_tokens ? at::mm(centred_nD.t(), centred_nD)
                                                   : at::mm(centred_nD, centred_nD.t())) /
                              static_cast<double>(num_tokens);
  return rank_floor(to_matrix(products), dimensions).value();
}

}  // namespace

RankFloors::RankFloors(const PairedDataset& dataset, const std::vector<int64_t>& sequences,
                       int64_t skip, int64_t most_tokens) {
  int64_t num_tokens = 0;
  for (const int64_t sequence : sequences) num_tokens += dataset.sequence_length(sequence) - skip;
  const int64_t stride = (num_tokens + most_tokens - 1) / most_tokens;
  std::vector<at::Tensor> sample;
  int64_t next = 0;  // place of the next token of the sample, from the start of this sequence
  for (const int64_t sequence : sequences) {
    const at::Tensor target_RTD = dataset.read({sequence}, skip).receiver_RTD;
    if (next < target_RTD.size(1)) {
      sample.push_back(target_RTD.slice(1, next, std::nullopt, stride).to(at::kDouble));
      next += sample.back().size(1) * stride;
    }
    next -= target_RTD.size(1);
  }
  const at::Tensor sample_RnD = at::cat(sample, 1);
  centred_RnD_ = sample_RnD - sample_RnD.mean(1, /*keepdim=*/true);
}

double RankFloors::stream(int64_t stream, int64_t dimensions) const {
  return tail(centred_RnD_[stream], dimensions) / static_cast<double>(centred_RnD_.size(2));
}

double RankFloors::largest_r2(int64_t dimensions) const {
  const at::Tensor all_nX = centred_RnD_.transpose(0, 1).flatten(1);
  const double variance =
      all_nX.square().sum().item<double>() / static_cast<double>(all_nX.size(0));
  return variance > 0 ? 1 - tail(all_nX, dimensions) / variance : 1;
}

}  // namespace kvalign
