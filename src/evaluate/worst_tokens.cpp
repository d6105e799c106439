// The k worst tokens, merged batch by batch. See worst_tokens.h.
#include "kvalign/evaluate/worst_tokens.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace kvalign {
namespace {

bool is_worse(const WorstToken& a, const WorstToken& b) {
  return std::make_tuple(-a.relative_error, a.sequence, a.token, a.stream) <
         std::make_tuple(-b.relative_error, b.sequence, b.token, b.stream);
}

}  // namespace

WorstTokens::WorstTokens(int64_t count) : count_(count) {
  TORCH_CHECK(count >= 0, "WorstTokens: expected a count that is not negative, got ", count, ".");
}

void WorstTokens::add(const TokenErrors& errors, const at::Tensor& sequence_offsets,
                      const std::vector<int64_t>& sequences, int64_t first_token) {
  const at::Tensor ratio_RT =
      at::where(errors.squared_norm_RT > 0, errors.squared_error_RT / errors.squared_norm_RT, -1.0);
  const at::Tensor ratio = ratio_RT.flatten();
  const auto [worst, places] = ratio.topk(std::min(count_, ratio.numel()));
  const at::Tensor squared_error = errors.squared_error_RT.flatten().index_select(0, places);
  const auto* offsets = sequence_offsets.const_data_ptr<int64_t>();
  const int64_t num_tokens = ratio_RT.size(1);
  for (int64_t i = 0; i < worst.numel(); ++i) {
    const double ratio_i = worst.const_data_ptr<double>()[i];
    if (ratio_i < 0) break;
    const int64_t place = places.const_data_ptr<int64_t>()[i];
    const int64_t token = place % num_tokens;
    const int64_t b =
        std::upper_bound(offsets, offsets + sequences.size() + 1, token) - offsets - 1;
    tokens_.push_back({.sequence = sequences[b],
                       .token = token - offsets[b] + first_token,
                       .stream = place / num_tokens,
                       .error = std::sqrt(squared_error.const_data_ptr<double>()[i]),
                       .relative_error = std::sqrt(ratio_i)});
  }
  std::sort(tokens_.begin(), tokens_.end(), is_worse);
  if (static_cast<int64_t>(tokens_.size()) > count_) tokens_.resize(count_);
}

}  // namespace kvalign
