// Means over the streams of a group. See headline.h.
#include "headline.h"

#include <ATen/ATen.h>

#include <numeric>

namespace kvalign {

std::vector<StreamGroup> stream_groups(int64_t num_streams, bool flat) {
  std::vector<int64_t> all(num_streams);
  std::iota(all.begin(), all.end(), 0);
  if (flat) return {{"all", all}};
  const auto middle = all.begin() + num_streams / 2;
  return {{"keys", {all.begin(), middle}}, {"values", {middle, all.end()}}, {"all", all}};
}

SummedErrors resample(const TargetSums& targets, const ErrorSums& errors,
                      const Bootstrap& bootstrap) {
  return {.tokens_N = bootstrap.sums(targets.tokens_Q),
          .squared_norm_NR = bootstrap.sums(targets.squared_norm_QR),
          .squared_deviation_NR = bootstrap.sums(targets.squared_deviation_QR),
          .squared_error_NR = bootstrap.sums(errors.squared_error_QR),
          .cosine_NR = bootstrap.sums(errors.cosine_QR),
          .width = targets.width};
}

std::vector<Headline> headlines(const SummedErrors& sums, const std::vector<StreamGroup>& groups) {
  std::vector<Headline> result;
  for (const StreamGroup& group : groups) {
    if (group.name == "all" && groups.size() > 1) continue;
    const std::string name = group.name == "all" ? "r2" : "r2_" + group.name;
    result.push_back({name, mean_figures(sums, group.streams).r2});
  }
  const Figures all = mean_figures(sums, groups.back().streams);
  result.push_back({"relative_error", all.relative_error});
  result.push_back({"cosine", all.cosine});
  result.push_back({"mse", all.mse});
  return result;
}

}  // namespace kvalign
