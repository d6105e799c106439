// Sequences of one length are pooled in one reduction, others one by one. A [B, T] pooling matrix
// would cost more than the projector itself for large B.
#include "kvalign/loss/pooling.h"

#include <ATen/ATen.h>

#include <vector>

namespace kvalign {
namespace {

// Lengths of the sequences, after all checks of the offsets.
std::vector<int64_t> sequence_lengths(const at::Tensor& offsets, int64_t num_tokens) {
  TORCH_CHECK(offsets.dim() == 1 && offsets.scalar_type() == at::kLong && offsets.is_cpu() &&
                  offsets.size(0) >= 2,
              "mean_pool: expected sequence_offsets int64 [sequences + 1] on the CPU, got ",
              offsets.scalar_type(), " ", offsets.sizes(), " on ", offsets.device());
  const at::Tensor contiguous = offsets.contiguous();
  const int64_t* begin = contiguous.const_data_ptr<int64_t>();
  const int64_t count = offsets.size(0) - 1;
  TORCH_CHECK(begin[0] == 0 && begin[count] == num_tokens,
              "mean_pool: expected sequence_offsets from 0 to ", num_tokens, " tokens, got ",
              begin[0], " to ", begin[count]);
  std::vector<int64_t> lengths(count);
  for (int64_t i = 0; i < count; ++i) {
    lengths[i] = begin[i + 1] - begin[i];
    TORCH_CHECK(lengths[i] > 0, "mean_pool: sequence ", i, " has ", lengths[i],
                " tokens; expected at least 1");
  }
  return lengths;
}

bool all_equal(const std::vector<int64_t>& numbers) {
  for (const int64_t number : numbers) {
    if (number != numbers.front()) {
      return false;
    }
  }
  return true;
}

}  // namespace

at::Tensor mean_pool(const at::Tensor& cache_RTD, const at::Tensor& sequence_offsets) {
  TORCH_CHECK(cache_RTD.dim() == 3, "mean_pool: expected a cache [streams, tokens, width], got ",
              cache_RTD.sizes());
  const std::vector<int64_t> lengths = sequence_lengths(sequence_offsets, cache_RTD.size(1));
  const auto num_sequences = static_cast<int64_t>(lengths.size());
  if (all_equal(lengths)) {
    return cache_RTD
        .unflatten(1, at::IntArrayRef({num_sequences, lengths.front()}))  // [R, B, L, D]
        .mean(2)
        .transpose(0, 1)
        .flatten(1);
  }
  std::vector<at::Tensor> means_RD;
  for (const at::Tensor& sequence_RLD : cache_RTD.split_with_sizes(lengths, 1)) {
    means_RD.push_back(sequence_RLD.mean(1));
  }
  return at::stack(means_RD).flatten(1);
}

at::Tensor masked_mean_pool(const at::Tensor& cache_BLC, const at::Tensor& mask_BL) {
  TORCH_CHECK(cache_BLC.dim() == 3 && mask_BL.scalar_type() == at::kBool &&
                  mask_BL.sizes() == cache_BLC.sizes().slice(0, 2),
              "masked_mean_pool: expected a cache [sequences, tokens, width] and a bool mask "
              "[sequences, tokens], got ",
              cache_BLC.sizes(), " and ", mask_BL.scalar_type(), " ", mask_BL.sizes());
  const at::Tensor counts_B = mask_BL.sum(1);
  TORCH_CHECK(counts_B.gt(0).all().item<bool>(),
              "masked_mean_pool: expected at least one token in each sequence, got a mask with an "
              "empty row");
  // Not a multiplication by the mask: padding may hold anything, NaN too.
  return cache_BLC.masked_fill(mask_BL.logical_not().unsqueeze(2), 0).sum(1) /
         counts_B.unsqueeze(1);
}

}  // namespace kvalign
