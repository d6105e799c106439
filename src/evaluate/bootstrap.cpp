// Percentile bootstrap over documents (Efron and Tibshirani 1993, chapter 13). See bootstrap.h.
#include "kvalign/evaluate/bootstrap.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kvalign/core/random.h"

namespace kvalign {
namespace {

constexpr double kLowFraction = 0.025;
constexpr double kHighFraction = 0.975;

// Ids to 0, 1, .. in the order of their first sequence.
std::vector<int64_t> number_documents(const std::vector<int64_t>& documents, int64_t* count) {
  std::map<int64_t, int64_t> numbers;
  std::vector<int64_t> numbered;
  numbered.reserve(documents.size());
  for (const int64_t id : documents) {
    numbered.push_back(numbers.try_emplace(id, static_cast<int64_t>(numbers.size())).first->second);
  }
  *count = static_cast<int64_t>(numbers.size());
  return numbered;
}

// numpy.percentile's default: linear between the two nearest ranks. `sorted` is not empty.
double percentile(const std::vector<double>& sorted, double fraction) {
  const double rank = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(rank));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (rank - std::floor(rank)) * (sorted[above] - sorted[below]);
}

}  // namespace

Bootstrap::Bootstrap(const std::vector<int64_t>& documents, int64_t num_resamples, uint64_t seed) {
  TORCH_CHECK(!documents.empty(), "Bootstrap: there are no sequences to resample.");
  TORCH_CHECK(num_resamples > 0, "Bootstrap: expected a positive number of resamples, got ",
              num_resamples, ".");
  const std::vector<int64_t> numbered = number_documents(documents, &num_documents_);
  const auto num_sequences = static_cast<int64_t>(documents.size());
  weights_NQ_ = at::ones({1 + num_resamples, num_sequences}, at::kDouble);
  auto* weights = weights_NQ_.mutable_data_ptr<double>();
  std::vector<double> counts(num_documents_);
  for (int64_t resample = 1; resample <= num_resamples; ++resample) {
    std::fill(counts.begin(), counts.end(), 0.0);
    Random random(derive_seed(seed, static_cast<uint64_t>(resample)));
    for (int64_t draw = 0; draw < num_documents_; ++draw) counts[random.below(num_documents_)] += 1;
    for (int64_t q = 0; q < num_sequences; ++q) {
      weights[resample * num_sequences + q] = counts[numbered[q]];
    }
  }
}

at::Tensor Bootstrap::sums(const at::Tensor& values_Q) const {
  TORCH_CHECK(values_Q.dim() >= 1 && values_Q.size(0) == weights_NQ_.size(1),
              "Bootstrap::sums: expected one entry for each of ", weights_NQ_.size(1),
              " sequences, got shape ", values_Q.sizes(), ".");
  std::vector<int64_t> shape = values_Q.sizes().vec();
  shape[0] = weights_NQ_.size(0);
  return weights_NQ_.matmul(values_Q.reshape({values_Q.size(0), -1})).view(shape);
}

Interval Bootstrap::interval(const at::Tensor& figures_N) const {
  TORCH_CHECK(figures_N.dim() == 1 && figures_N.size(0) == weights_NQ_.size(0),
              "Bootstrap::interval: expected the data's figure and ", num_resamples(),
              " resamples, got shape ", figures_N.sizes(), ".");
  const at::Tensor figures = figures_N.to(at::kDouble).contiguous();
  const double* begin = figures.const_data_ptr<double>();
  Interval interval{.value = begin[0]};
  std::vector<double> resampled;
  std::copy_if(begin + 1, begin + figures.size(0), std::back_inserter(resampled),
               [](double figure) { return !std::isnan(figure); });
  if (num_documents_ < 2 || resampled.empty()) return interval;
  std::sort(resampled.begin(), resampled.end());
  interval.low = percentile(resampled, kLowFraction);
  interval.high = percentile(resampled, kHighFraction);
  return interval;
}

}  // namespace kvalign
