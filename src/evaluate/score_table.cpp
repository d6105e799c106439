// Sums over scores. See score_table.h.
#include "score_table.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kvalign {
namespace {

at::Tensor as_tensor(const std::vector<double>& values_Q) {
  return at::tensor(values_Q, at::kDouble);
}

double sum_of(const std::vector<double>& values, TokenRange range) {
  return std::accumulate(values.begin() + range.begin, values.begin() + range.end, 0.0);
}

}  // namespace

int64_t ScoreTable::token_count(const RowScores& scores, TokenSpan span) const {
  const auto all = static_cast<int64_t>(scores.nll.size());
  return span == TokenSpan::kFirst ? std::min(options_.first_tokens, all) : all;
}

LadderScores ScoreTable::scores(size_t row, TokenSpan span) const {
  double nats = 0, hits = 0, tokens = 0, window_nats = 0, bytes = 0;
  for (const SequenceScores& sequence : sequences_) {
    const RowScores& scores = sequence.rows[row];
    const int64_t count = token_count(scores, span);
    nats += sum_of(scores.nll, {0, count});
    hits += std::accumulate(scores.hits.begin(), scores.hits.begin() + count, 0.0);
    tokens += static_cast<double>(count);
    const ByteWindow& window = span == TokenSpan::kFirst ? sequence.first : sequence.all;
    window_nats += sum_of(scores.nll, range(window, row));
    bytes += static_cast<double>(window.bytes);
  }
  const double nll = nats / tokens;
  return {.nll = nll,
          .ppl = std::exp(nll),
          .top1 = hits / tokens,
          .nats_per_byte = bytes > 0 ? window_nats / bytes : kUndefined};
}

at::Tensor ScoreTable::token_nats_Q(size_t row, TokenSpan span) const {
  std::vector<double> values;
  for (const SequenceScores& sequence : sequences_) {
    const RowScores& scores = sequence.rows[row];
    values.push_back(sum_of(scores.nll, {0, token_count(scores, span)}));
  }
  return as_tensor(values);
}

at::Tensor ScoreTable::token_counts_Q(size_t row, TokenSpan span) const {
  std::vector<double> values;
  for (const SequenceScores& sequence : sequences_) {
    values.push_back(static_cast<double>(token_count(sequence.rows[row], span)));
  }
  return as_tensor(values);
}

at::Tensor ScoreTable::nats_Q(size_t row, Unit unit) const {
  if (unit == Unit::kToken) return token_nats_Q(row, TokenSpan::kAll);
  std::vector<double> values;
  for (const SequenceScores& sequence : sequences_) {
    values.push_back(sum_of(sequence.rows[row].nll, range(sequence.all, row)));
  }
  return as_tensor(values);
}

at::Tensor ScoreTable::counts_Q(size_t row, Unit unit) const {
  if (unit == Unit::kToken) return token_counts_Q(row, TokenSpan::kAll);
  std::vector<double> values;
  for (const SequenceScores& sequence : sequences_) {
    values.push_back(static_cast<double>(sequence.all.bytes));
  }
  return as_tensor(values);
}

Unit ScoreTable::unit_of(size_t row, size_t other) const {
  const bool same_tokens = options_.one_tokenizer || (is_sender(row) == is_sender(other));
  return same_tokens ? Unit::kToken : Unit::kByte;
}

double ScoreTable::mean(size_t row, const std::function<double(const RowScores&)>& value) const {
  double sum = 0;
  for (const SequenceScores& sequence : sequences_) sum += value(sequence.rows[row]);
  return sum / static_cast<double>(sequences_.size());
}

std::vector<double> ScoreTable::nll_by_position(size_t row, size_t count) const {
  std::vector<double> means(count, 0);
  for (size_t position = 0; position < count; ++position) {
    for (const SequenceScores& sequence : sequences_) {
      const std::vector<double>& nll = sequence.rows[row].nll;
      means[position] += position < nll.size() ? nll[position] : kUndefined;
    }
    means[position] /= static_cast<double>(sequences_.size());
  }
  return means;
}

int64_t ScoreTable::only_right(size_t row, size_t other) const {
  int64_t count = 0;
  for (const SequenceScores& sequence : sequences_) {
    const auto& hits = sequence.rows[row].hits;
    const auto& other_hits = sequence.rows[other].hits;
    for (size_t i = 0; i < hits.size(); ++i) count += hits[i] == 1 && other_hits[i] == 0;
  }
  return count;
}

double ScoreTable::mean_absolute_difference(size_t row, size_t other) const {
  double sum = 0, tokens = 0;
  for (const SequenceScores& sequence : sequences_) {
    const auto& nll = sequence.rows[row].nll;
    const auto& other_nll = sequence.rows[other].nll;
    for (size_t i = 0; i < nll.size(); ++i) sum += std::abs(nll[i] - other_nll[i]);
    tokens += static_cast<double>(nll.size());
  }
  return sum / tokens;
}

}  // namespace kvalign
