// Figures, intervals and the verdict. See ladder_statistics.h.
//
// Shapes:  Q sequences   N resamples
#include "kvalign/evaluate/ladder_statistics.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>

#include "text_table.h"

namespace kvalign {
namespace {

// What a difference of two rows counts: tokens where both predict the same ones, else bytes.
enum class Unit { kToken, kByte };

at::Tensor as_tensor(const std::vector<double>& values_Q) {
  return at::tensor(values_Q, at::kDouble);
}

double sum_of(const std::vector<double>& values, TokenRange range) {
  return std::accumulate(values.begin() + range.begin, values.begin() + range.end, 0.0);
}

// Answers questions about the rows of all sequences.
class ScoreTable {
 public:
  ScoreTable(const std::vector<LadderRowInfo>& rows, const std::vector<SequenceScores>& sequences,
             const StatisticsOptions& options)
      : rows_(rows), sequences_(sequences), options_(options) {}

  LadderScores scores(size_t row, bool first_only) const {
    double nats = 0, hits = 0, tokens = 0, window_nats = 0, bytes = 0;
    for (const SequenceScores& sequence : sequences_) {
      const RowScores& scores = sequence.rows[row];
      const auto all = static_cast<int64_t>(scores.nll.size());
      const int64_t count = first_only ? std::min(options_.first_tokens, all) : all;
      nats += sum_of(scores.nll, {0, count});
      hits += std::accumulate(scores.hits.begin(), scores.hits.begin() + count, 0.0);
      tokens += static_cast<double>(count);
      const ByteWindow& window = first_only ? sequence.first : sequence.all;
      window_nats += sum_of(scores.nll, range(window, row));
      bytes += static_cast<double>(window.bytes);
    }
    const double nll = nats / tokens;
    return {.nll = nll,
            .ppl = std::exp(nll),
            .top1 = hits / tokens,
            .nats_per_byte = bytes > 0 ? window_nats / bytes : kUndefined};
  }

  // Of each sequence, [Q]: over all tokens, or over the common bytes.
  at::Tensor nats_Q(size_t row, Unit unit) const {
    std::vector<double> values;
    for (const SequenceScores& sequence : sequences_) {
      const RowScores& scores = sequence.rows[row];
      const TokenRange all{0, static_cast<int64_t>(scores.nll.size())};
      values.push_back(sum_of(scores.nll, unit == Unit::kToken ? all : range(sequence.all, row)));
    }
    return as_tensor(values);
  }

  at::Tensor counts_Q(size_t row, Unit unit) const {
    std::vector<double> values;
    for (const SequenceScores& sequence : sequences_) {
      values.push_back(static_cast<double>(unit == Unit::kToken
                                               ? static_cast<int64_t>(sequence.rows[row].nll.size())
                                               : sequence.all.bytes));
    }
    return as_tensor(values);
  }

  Unit unit_of(size_t row, size_t other) const {
    const bool same_tokens = options_.one_tokenizer || (is_sender(row) == is_sender(other));
    return same_tokens ? Unit::kToken : Unit::kByte;
  }

  double mean(size_t row, const std::function<double(const RowScores&)>& value) const {
    double sum = 0;
    for (const SequenceScores& sequence : sequences_) sum += value(sequence.rows[row]);
    return sum / static_cast<double>(sequences_.size());
  }

  // Tokens that one row has right and the other has not.
  int64_t only_right(size_t row, size_t other) const {
    int64_t count = 0;
    for (const SequenceScores& sequence : sequences_) {
      const auto& hits = sequence.rows[row].hits;
      const auto& other_hits = sequence.rows[other].hits;
      for (size_t i = 0; i < hits.size(); ++i) count += hits[i] == 1 && other_hits[i] == 0;
    }
    return count;
  }

  // Mean over tokens of |nll(row) - nll(other)|.
  double mean_absolute_difference(size_t row, size_t other) const {
    double sum = 0, tokens = 0;
    for (const SequenceScores& sequence : sequences_) {
      const auto& nll = sequence.rows[row].nll;
      const auto& other_nll = sequence.rows[other].nll;
      for (size_t i = 0; i < nll.size(); ++i) sum += std::abs(nll[i] - other_nll[i]);
      tokens += static_cast<double>(nll.size());
    }
    return sum / tokens;
  }

 private:
  bool is_sender(size_t row) const { return rows_[row].role == RowRole::kSenderAlone; }
  TokenRange range(const ByteWindow& window, size_t row) const {
    return is_sender(row) ? window.sender : window.receiver;
  }

  const std::vector<LadderRowInfo>& rows_;
  const std::vector<SequenceScores>& sequences_;
  const StatisticsOptions& options_;
};

size_t find_role(const std::vector<LadderRowInfo>& rows, RowRole role, const char* name) {
  const auto found = std::find_if(rows.begin(), rows.end(),
                                  [role](const LadderRowInfo& row) { return row.role == role; });
  TORCH_CHECK(found != rows.end(), "fill_statistics: expected a row for ", name, ", got none.");
  return found - rows.begin();
}

// The floor row of lowest nll over `tokens` at `reread`, of reread 0 where that has none.
// Throws c10::Error where that has none either.
size_t best_floor(const std::vector<LadderRowInfo>& rows, const std::vector<LadderRow>& filled,
                  int64_t reread, LadderScores LadderRow::*tokens) {
  std::optional<size_t> best;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].role != RowRole::kFloor || rows[i].reread != reread) continue;
    if (!best || (filled[i].*tokens).nll < (filled[*best].*tokens).nll) best = i;
  }
  if (best) return *best;
  TORCH_CHECK(reread != 0, "fill_statistics: expected a floor row of reread 0, got none.");
  return best_floor(rows, filled, 0, tokens);
}

LadderDifference compare(const ScoreTable& table, const std::vector<LadderRowInfo>& rows,
                         const Bootstrap& bootstrap, size_t row, size_t against) {
  const Unit unit = table.unit_of(row, against);
  const at::Tensor difference_N =
      (bootstrap.sums(table.nats_Q(row, unit)) - bootstrap.sums(table.nats_Q(against, unit))) /
      bootstrap.sums(table.counts_Q(row, unit));
  LadderDifference result{.row = rows[row].row,
                          .against = rows[against].row,
                          .nll = bootstrap.interval(difference_N),
                          .unit = unit == Unit::kToken ? "nats a token" : "nats a byte"};
  if (unit == Unit::kToken) {
    result.only_row_right = table.only_right(row, against);
    result.only_against_right = table.only_right(against, row);
    result.mcnemar_p = mcnemar_exact(result.only_row_right, result.only_against_right);
  }
  return result;
}

double retention(const ScoreTable& table, size_t row, size_t floor, size_t ceiling) {
  const Unit unit = table.unit_of(row, floor);
  const auto nats = [&](size_t which) { return table.nats_Q(which, unit).sum().item<double>(); };
  const double room = nats(floor) - nats(ceiling);
  return room > 0 ? (nats(floor) - nats(row)) / room : kUndefined;
}

// The same over the first tokens, from what the rows say of them.
double retention_first(const ScoreTable& table, const std::vector<LadderRow>& rows, size_t row,
                       size_t floor, size_t ceiling) {
  const auto score =
      table.unit_of(row, floor) == Unit::kToken ? &LadderScores::nll : &LadderScores::nats_per_byte;
  const double room = rows[floor].first.*score - rows[ceiling].first.*score;
  return room > 0 ? (rows[floor].first.*score - rows[row].first.*score) / room : kUndefined;
}

std::string verdict_on(const LadderDifference& difference) {
  const bool better = difference.nll.high < 0;
  return difference.row + (better ? " is better than " : " is not better than ") +
         difference.against + ": " + format_interval(difference.nll) + " " + difference.unit;
}

LadderGate judge(const LadderReport& report, const std::string& judged,
                 const std::vector<std::string>& ceiling_faults) {
  LadderGate gate{.row = judged, .passed = ceiling_faults.empty()};
  for (const std::string& fault : ceiling_faults) gate.why += fault + " ";
  std::string separator;
  for (const LadderDifference& difference : report.differences) {
    if (difference.row != judged) continue;
    gate.passed = gate.passed && difference.nll.high < 0;
    gate.why += separator + verdict_on(difference);
    separator = "; ";
  }
  if (report.documents < 2) gate.why += "; one document alone gives no interval";
  return gate;
}

std::vector<LadderRow> rows_with_scores(const ScoreTable& table,
                                        const std::vector<LadderRowInfo>& rows,
                                        const StatisticsOptions& options) {
  std::vector<LadderRow> filled;
  for (size_t i = 0; i < rows.size(); ++i) {
    const double bytes = table.mean(i, [](const RowScores& scores) { return scores.bytes; });
    filled.push_back({.row = rows[i].row,
                      .text = rows[i].text,
                      .sinks = rows[i].sinks,
                      .reread = rows[i].reread,
                      .wire = rows[i].wire,
                      .bytes_per_token = bytes / static_cast<double>(options.prefix_tokens),
                      .first = table.scores(i, /*first_only=*/true),
                      .all = table.scores(i, /*first_only=*/false),
                      .kl = table.mean(i, [](const RowScores& scores) { return scores.kl; })});
  }
  return filled;
}

// Retention, and each row against the sender alone and its floor.
void fill_comparisons(const ScoreTable& table, const std::vector<LadderRowInfo>& rows,
                      const std::vector<SequenceScores>& sequences,
                      const StatisticsOptions& options, LadderReport& report) {
  std::vector<int64_t> documents;
  for (const SequenceScores& sequence : sequences) documents.push_back(sequence.document);
  const Bootstrap bootstrap(documents, options.bootstrap_resamples, options.seed);
  report.documents = bootstrap.num_documents();
  const size_t sender = find_role(rows, RowRole::kSenderAlone, "the sender alone");
  const size_t ceiling = find_role(rows, RowRole::kTrueCache, "the true cache");
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t floor = best_floor(rows, report.rows, rows[i].reread, &LadderRow::all);
    report.rows[i].retention = retention(table, i, floor, ceiling);
    report.rows[i].retention_first =
        retention_first(table, report.rows, i,
                        best_floor(rows, report.rows, rows[i].reread, &LadderRow::first), ceiling);
    for (const size_t against : {sender, floor}) {
      if (i == against) continue;
      report.differences.push_back(compare(table, rows, bootstrap, i, against));
    }
  }
}

// Scores may come from a file that somebody edited.
void check_scores(const SequenceScores& sequence, const std::vector<LadderRowInfo>& rows) {
  for (size_t row = 0; row < rows.size(); ++row) {
    const RowScores& scores = sequence.rows[row];
    const auto count = static_cast<int64_t>(scores.nll.size());
    const bool is_sender = rows[row].role == RowRole::kSenderAlone;
    bool fits = count > 0 && scores.hits.size() == scores.nll.size();
    for (const ByteWindow* window : {&sequence.first, &sequence.all}) {
      const TokenRange range = is_sender ? window->sender : window->receiver;
      fits = fits && range.begin >= 0 && range.begin <= range.end && range.end <= count;
    }
    TORCH_CHECK(fits, "fill_statistics: expected scores of the tokens of both windows, got ", count,
                " for the row '", rows[row].row, "' of sequence ", sequence.sequence, ".");
  }
}

void check(const std::vector<LadderRowInfo>& rows, const std::vector<SequenceScores>& sequences,
           const StatisticsOptions& options) {
  TORCH_CHECK(!sequences.empty(), "fill_statistics: expected the scores of sequences, got none.");
  for (const SequenceScores& sequence : sequences) {
    TORCH_CHECK(sequence.rows.size() == rows.size(), "fill_statistics: expected scores of ",
                rows.size(), " rows, got ", sequence.rows.size(), " of sequence ",
                sequence.sequence, ".");
    check_scores(sequence, rows);
  }
  TORCH_CHECK(options.judged_row < rows.size(), "fill_statistics: expected a row to judge below ",
              rows.size(), ", got ", options.judged_row, ".");
}

// What is wrong with the ceiling, as sentences.
std::vector<std::string> ceiling_faults(const ScoreTable& table, size_t text, size_t ceiling,
                                        double limit) {
  const double difference = table.mean_absolute_difference(text, ceiling);
  if (difference <= limit) return {};
  return {"The true cache does not match the text row: the nll of a token differs by " +
          format_short(difference) + " nats in the mean (at most " + format_short(limit) +
          " is expected), so no row with a cache can be interpreted."};
}

}  // namespace

double mcnemar_exact(int64_t first, int64_t second) {
  TORCH_CHECK(first >= 0 && second >= 0, "mcnemar_exact: expected counts of at least 0, got ",
              first, " and ", second, ".");
  const auto pairs = static_cast<double>(first + second);
  double tail = 0;
  for (int64_t k = 0; k <= std::min(first, second); ++k) {
    const auto chosen = static_cast<double>(k);
    tail += std::exp(std::lgamma(pairs + 1) - std::lgamma(chosen + 1) -
                     std::lgamma(pairs - chosen + 1) - pairs * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

void fill_statistics(const std::vector<LadderRowInfo>& rows,
                     const std::vector<SequenceScores>& sequences, const StatisticsOptions& options,
                     LadderReport& report) {
  check(rows, sequences, options);
  const ScoreTable table(rows, sequences, options);
  report.sequences = static_cast<int64_t>(sequences.size());
  report.rows = rows_with_scores(table, rows, options);
  for (LadderRow& row : report.rows) row.sequences = report.sequences;
  const size_t text = find_role(rows, RowRole::kText, "text");
  const size_t ceiling = find_role(rows, RowRole::kTrueCache, "the true cache");
  report.floor = rows[best_floor(rows, report.rows, 0, &LadderRow::all)].row;
  const auto faults = ceiling_faults(table, text, ceiling, options.max_ceiling_difference);
  fill_comparisons(table, rows, sequences, options, report);
  report.gate = judge(report, rows[options.judged_row].row, faults);
  if (std::isnan(report.rows[ceiling].retention)) {
    report.warnings.push_back("The true cache is no better than " + report.floor +
                              ", so this text does not need its context and retention means "
                              "nothing.");
  }
  report.warnings.insert(report.warnings.end(), faults.begin(), faults.end());
}

}  // namespace kvalign
