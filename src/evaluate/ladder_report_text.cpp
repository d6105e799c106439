// The ladder for people: a table for a terminal, sections of report.md, one sentence. See
// ladder_report.h.
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "kvalign/evaluate/ladder_report.h"
#include "kvalign/evaluate/text_table.h"
#include "number_text.h"

namespace kvalign {
namespace {

std::string fixed_or_dash(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string percent_or_dash(double value) {
  return std::isfinite(value) ? fixed_or_dash(100 * value, 0) + " %" : "-";
}

std::string count_text(int64_t number, const std::string& what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

// Prefill, projection and continuation together; steps that a row lacks take no time.
double total_ms(const LadderMilliseconds& steps) {
  const auto or_zero = [](double value) { return std::isnan(value) ? 0 : value; };
  return or_zero(steps.prefill) + or_zero(steps.project) + or_zero(steps.continuation);
}

TextTable scores_table(const LadderReport& report) {
  const std::string first = "first " + std::to_string(report.first_tokens);
  TextTable table({"row", "nll " + first, "nll", "ppl", "top-1 " + first, "top-1",
                   "retention " + first, "retention", "KL", "nats/byte", "bytes/token", "ms"});
  for (const LadderRow& row : report.rows) {
    table.add({row.row, fixed_or_dash(row.first.nll, 3), fixed_or_dash(row.all.nll, 3),
               fixed_or_dash(row.all.ppl, 2), fixed_or_dash(row.first.top1, 3),
               fixed_or_dash(row.all.top1, 3), percent_or_dash(row.retention_first),
               percent_or_dash(row.retention), fixed_or_dash(row.kl, 3),
               fixed_or_dash(row.all.nats_per_byte, 3), fixed_or_dash(row.bytes_per_token, 1),
               fixed_or_dash(total_ms(row.milliseconds), 0)});
  }
  return table;
}

// Null where there is no such row.
const LadderRow* find_row(const LadderReport& report, const std::string& name) {
  const auto found = std::find_if(report.rows.begin(), report.rows.end(),
                                  [&](const LadderRow& row) { return row.row == name; });
  return found == report.rows.end() ? nullptr : &*found;
}

std::string describe_data(const LadderReport& report) {
  std::string text = c10::str(count_text(report.sequences, "held-out sequence"), " of ",
                              count_text(report.documents, "document"), ": ", report.prefix_tokens,
                              " tokens of prefix, ", report.continuation_tokens,
                              " predicted, the same for every row");
  if (!report.one_tokenizer) {
    text +=
        "; the sender has tokens of its own, so that only nats/byte, taken over the same bytes, "
        "compares it with the others";
  }
  text += c10::str(".\nLeft out: ", count_text(report.left_out_seen, "sequence"),
                   " of documents that the fit has seen, ", report.left_out_short,
                   " with too few tokens.\n");
  text += c10::str(
      "Retention: 0 is the floor (the best row at the same re-read that carries nothing "
      "of this context; ",
      report.floor, " where nothing is re-read), 1 the true cache.\n");
  if (find_row(report, "sender, no cache") != nullptr) {
    text +=
        "Of rows to the sender 0 is the best that carries nothing of this context to it, 1 the "
        "sender alone.\n";
  }
  return text + c10::str("ms a sequence: prefill + projection + continuation, median of ",
                         report.timed_sequences,
                         ". The sender's own prefill is 0 ms where it has "
                         "read the prefix already, ",
                         fixed_or_dash(report.sender_prefill_ms, 0), " ms where not.\n");
}

std::string describe_gates(const LadderReport& report) {
  std::string text;
  for (const GateResult& gate : report.gates) {
    text += std::string(gate.passed ? "Passed: " : "FAILED: ") + gate.why + ".\n";
  }
  for (const std::string& warning : report.warnings) text += "Warning: " + warning + "\n";
  return text;
}

std::string differences_table(const LadderReport& report) {
  TextTable table({"row", "against", "nll", "only it right", "only the other right", "McNemar p"});
  for (const LadderDifference& difference : report.differences) {
    const bool paired = difference.only_row_right >= 0;
    table.add({difference.row, difference.against,
               format_interval(difference.nll) + (paired ? "" : " " + difference.unit),
               paired ? std::to_string(difference.only_row_right) : "-",
               paired ? std::to_string(difference.only_against_right) : "-",
               paired ? format_short(difference.mcnemar_p) : "-"});
  }
  return table.markdown();
}

std::string times_table(const LadderReport& report) {
  TextTable table(
      {"row", "prefill ms", "project ms", "continue ms", "prefill J", "project J", "continue J"});
  for (const LadderRow& row : report.rows) {
    table.add({row.row, fixed_or_dash(row.milliseconds.prefill, 1),
               fixed_or_dash(row.milliseconds.project, 1),
               fixed_or_dash(row.milliseconds.continuation, 1),
               fixed_or_dash(row.joules.prefill, 1), fixed_or_dash(row.joules.project, 1),
               fixed_or_dash(row.joules.continuation, 1)});
  }
  return table.markdown();
}

}  // namespace

std::string conclusion(const LadderReport& report) {
  const LadderRow* row = find_row(report, report.gate.row);
  if (row == nullptr) return "";
  std::string text = row->row;
  text += std::isfinite(row->retention) ? " keeps " + percent_or_dash(row->retention) +
                                              " of what the receiver's true cache is worth "
                                              "over knowing nothing of the context"
                                        : " cannot be placed between floor and true cache";
  return text + (report.gate.passed ? ". The gate is met: " : ". The gate is NOT met: ") +
         report.gate.why + ".";
}

std::string to_text(const LadderReport& report) {
  return scores_table(report).aligned() + "\n" + describe_data(report) + describe_gates(report) +
         conclusion(report) + "\n";
}

std::string to_markdown(const LadderReport& report) {
  std::string text = "# Ladder: " + report.sender + " to " + report.receiver + "\n\n" +
                     scores_table(report).markdown() + "\n" + conclusion(report) + "\n\n" +
                     markdown_list(describe_data(report) + describe_gates(report));
  for (const LadderRow& row : report.rows) text += "- `" + row.row + "`: " + row.text + "\n";
  text += "- Tokens: `" + report.tokens + "`, SHA-256 " + report.tokens_sha256 + "\n";
  text +=
      "\n## Differences of nll\n\nNats a token, paired over the sequences; 95 % bootstrap "
      "intervals over documents; below 0 the row is better. McNemar's exact test counts tokens "
      "as independent, which they are not: its p is a lower limit.\n\n" +
      differences_table(report);
  return text + "\n## Milliseconds and joules a sequence\n\nEnergy: " + report.energy_source +
         ". Steps shorter than its counter can tell are repeated.\n\n" + times_table(report);
}

}  // namespace kvalign
