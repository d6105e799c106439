// Figures, intervals and the verdict. See ladder_statistics.h.
//
// Shapes:  Q sequences   N resamples
#include "kvalign/evaluate/ladder_statistics.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "number_text.h"
#include "score_table.h"

namespace kvalign {
namespace {

size_t find_role(const std::vector<LadderRowInfo>& rows, RowRole role, const char* name) {
  const auto found = std::find_if(rows.begin(), rows.end(),
                                  [role](const LadderRowInfo& row) { return row.role == role; });
  TORCH_CHECK(found != rows.end(), "fill_statistics: expected a row for ", name, ", got none.");
  return found - rows.begin();
}

// The floor row of lowest nll over `tokens` at `reread`, of reread 0 where that has none.
// Throws c10::Error where that has none either.
size_t best_floor(const std::vector<LadderRowInfo>& rows, const std::vector<LadderRow>& filled,
                  RowRole floor, int64_t reread, LadderScores LadderRow::*tokens) {
  std::optional<size_t> best;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].role != floor || rows[i].reread != reread) continue;
    if (!best || (filled[i].*tokens).nll < (filled[*best].*tokens).nll) best = i;
  }
  if (best) return *best;
  TORCH_CHECK(reread != 0, "fill_statistics: expected a floor row of reread 0, got none.");
  return best_floor(rows, filled, floor, 0, tokens);
}

bool is_to_sender(RowRole role) {
  return role == RowRole::kToSender || role == RowRole::kSenderFloor;
}

// What is 0 for a row.
size_t floor_of(const std::vector<LadderRowInfo>& rows, const std::vector<LadderRow>& filled,
                size_t row, LadderScores LadderRow::*tokens) {
  const RowRole floor = is_to_sender(rows[row].role) ? RowRole::kSenderFloor : RowRole::kFloor;
  return best_floor(rows, filled, floor, rows[row].reread, tokens);
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
                      .first = table.scores(i, TokenSpan::kFirst),
                      .all = table.scores(i, TokenSpan::kAll),
                      .kl = table.mean(i, [](const RowScores& scores) { return scores.kl; })});
  }
  return filled;
}

void fill_interval(const ScoreTable& table, const Bootstrap& bootstrap, size_t row, TokenSpan span,
                   LadderScores& scores) {
  const Interval nll = bootstrap.interval(bootstrap.sums(table.token_nats_Q(row, span)) /
                                          bootstrap.sums(table.token_counts_Q(row, span)));
  scores.nll_low = nll.low;
  scores.nll_high = nll.high;
}

// Intervals, retention, and each row against the sender alone and its floor.
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
    fill_interval(table, bootstrap, i, TokenSpan::kFirst, report.rows[i].first);
    fill_interval(table, bootstrap, i, TokenSpan::kAll, report.rows[i].all);
    const size_t floor = floor_of(rows, report.rows, i, &LadderRow::all);
    const size_t one = is_to_sender(rows[i].role) ? sender : ceiling;
    report.rows[i].retention = retention(table, i, floor, one);
    report.rows[i].retention_first = retention_first(
        table, report.rows, i, floor_of(rows, report.rows, i, &LadderRow::first), one);
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
    const bool is_sender = continued_by_sender(rows[row].role);
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
  const size_t text = find_role(rows, RowRole::kText, "text");
  const size_t ceiling = find_role(rows, RowRole::kTrueCache, "the true cache");
  const size_t num_positions = sequences[0].rows[ceiling].nll.size();
  for (size_t i = 0; i < report.rows.size(); ++i) {
    report.rows[i].sequences = report.sequences;
    report.rows[i].nll_by_position = table.nll_by_position(i, num_positions);
  }
  report.floor = rows[best_floor(rows, report.rows, RowRole::kFloor, 0, &LadderRow::all)].row;
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
