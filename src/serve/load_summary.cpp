// Figures of a load. See load_result.h.
#include <algorithm>
#include <cmath>

#include "kvalign/serve/load_result.h"

namespace kvalign {
namespace {

bool is_good(const LoadQuery& query, const LoadOptions& options) {
  const bool applied = query.outcome.empty() || query.outcome == "applied";
  const bool in_time =
      options.latency_bound_ms == 0 || 1e3 * query.latency() <= options.latency_bound_ms;
  return query.answered() && applied && in_time;
}

}  // namespace

LoadPercentiles load_percentiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  // ceil(n q) in whole numbers: 0.9 and its like are not what they say.
  const auto at = [&](size_t permille) {
    const size_t rank = (values.size() * permille + 999) / 1000;
    return values[rank - 1];
  };
  return {.p50 = at(500), .p90 = at(900), .p99 = at(990), .p99_9 = at(999), .max = values.back()};
}

LoadResult summarise_load(const LoadOptions& options, const std::vector<LoadQuery>& queries) {
  LoadResult result{.options = options, .queries = static_cast<int64_t>(queries.size())};
  std::vector<double> latencies, send_delays, first_pieces, pauses;
  for (const LoadQuery& query : queries) {
    result.seconds = std::max(result.seconds, query.done);
    result.good += is_good(query, options) ? 1 : 0;
    send_delays.push_back(query.sent - query.scheduled);
    if (!query.answered()) {
      ++result.errors[query.error];
      result.retry_after += query.retry_after ? 1 : 0;
      continue;
    }
    ++result.answered;
    if (!query.outcome.empty()) ++result.outcomes[query.outcome];
    result.tokens += query.tokens;
    result.pieces += static_cast<int64_t>(query.pieces.size());
    latencies.push_back(query.latency());
    if (!query.pieces.empty()) first_pieces.push_back(query.pieces.front() - query.scheduled);
    for (size_t i = 1; i < query.pieces.size(); ++i) {
      pauses.push_back(query.pieces[i] - query.pieces[i - 1]);
    }
  }
  result.latency = load_percentiles(std::move(latencies));
  result.send_delay = load_percentiles(std::move(send_delays));
  result.first_piece = load_percentiles(std::move(first_pieces));
  result.between_pieces = load_percentiles(std::move(pauses));
  return result;
}

}  // namespace kvalign
