// Whether a load met the bounds that it was given. See load_result.h.
#include <cstdio>

#include "kvalign/serve/load_result.h"

namespace kvalign {

std::vector<std::string> bounds_not_met(const LoadResult& result) {
  const LoadOptions& options = result.options;
  std::vector<std::string> sentences;
  char text[200];
  if (options.latency_bound_ms > 0 && result.goodput() < share_within_bound(options)) {
    std::snprintf(text, sizeof text,
                  "%.2f %% of the queries were answered within %g ms, %g %% were asked for",
                  100 * result.goodput(), options.latency_bound_ms,
                  100 * share_within_bound(options));
    sentences.emplace_back(text);
  }
  if (result.queries_per_second() < options.min_queries_per_second) {
    std::snprintf(text, sizeof text, "%.2f queries a second were answered, %g were asked for",
                  result.queries_per_second(), options.min_queries_per_second);
    sentences.emplace_back(text);
  }
  return sentences;
}

}  // namespace kvalign
