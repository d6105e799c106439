// The ladder's tables. See html_sections.h.
#include <cmath>
#include <nlohmann/json.hpp>

#include "html_page.h"
#include "html_sections.h"

namespace kvalign {
namespace {

using nlohmann::json;

bool has_intervals(const json& ladder) {
  return !ladder.empty() && ladder[0].at("all").contains("nll_low");
}

std::string nll_interval(const json& scores) {
  return interval_cell(number_of(scores, "nll_low"), number_of(scores, "nll_high"));
}

// Steps that a row lacks take no time.
std::string total_milliseconds(const json& row) {
  double total = 0;
  for (const char* step : {"prefill", "project", "continue"}) {
    const double milliseconds = number_of(row.at("milliseconds"), step);
    total += std::isnan(milliseconds) ? 0 : milliseconds;
  }
  return number_cell(total);
}

std::string scores_table(const json& report) {
  const json& ladder = report.at("ladder");
  const std::string first = "first " + cell_of(report.at("ladder_data"), "first_tokens");
  const bool intervals = has_intervals(ladder);
  std::vector<HtmlColumn> columns{{"row"}, {"nll " + first, NumberKind::kMeasured}};
  const HtmlColumn interval{"95 % interval", NumberKind::kStatistical};
  if (intervals) columns.push_back(interval);
  columns.push_back({"nll all", NumberKind::kMeasured});
  if (intervals) columns.push_back(interval);
  for (const std::string& title :
       {std::string("ppl"), "top-1 " + first, std::string("top-1"), "retention " + first,
        std::string("retention"), std::string("KL"), std::string("nats/byte"),
        std::string("bytes/token"), std::string("ms")}) {
    columns.push_back({title, NumberKind::kMeasured});
  }
  HtmlTable table("What is predicted after each cache; the judged row is marked.", columns);
  for (const json& row : ladder) {
    const json &first16 = row.at("first16"), &all = row.at("all");
    std::vector<std::string> cells{row.at("row"), cell_of(first16, "nll")};
    if (intervals) cells.push_back(nll_interval(first16));
    cells.push_back(cell_of(all, "nll"));
    if (intervals) cells.push_back(nll_interval(all));
    for (const std::string& value :
         {cell_of(all, "ppl"), cell_of(first16, "top1"), cell_of(all, "top1"),
          percent_cell(number_of(row, "retention_first16")),
          percent_cell(number_of(row, "retention")), cell_of(row, "kl"),
          cell_of(all, "nats_per_byte"), cell_of(row, "bytes_per_token"),
          total_milliseconds(row)}) {
      cells.push_back(value);
    }
    table.add(cells, row.at("row") == report.at("gate").at("row"));
  }
  return table.markup();
}

std::string describe_sequences(const json& data) {
  std::string text = cell_of(data, "sequences") + " held-out sequences of " +
                     cell_of(data, "documents") + " documents: " + cell_of(data, "prefix_tokens") +
                     " tokens of prefix, " + cell_of(data, "continuation_tokens") +
                     " predicted, the same for every row. nll in nats a token, lower is better.";
  if (!data.at("one_tokenizer").get<bool>()) {
    text +=
        " The sender has tokens of its own, so that only nats/byte, taken over the same bytes, "
        "compares it with the others.";
  }
  return text;
}

std::string differences_table(const json& report) {
  HtmlTable table(
      "nll of the row minus nll of the other, paired over the sequences; below 0 the "
      "row is better.",
      {{"row"},
       {"against", NumberKind::kText},
       {"difference", NumberKind::kMeasured},
       {"95 % interval", NumberKind::kStatistical},
       {"unit"},
       {"only it right", NumberKind::kMeasured},
       {"only the other right", NumberKind::kMeasured},
       {"McNemar p", NumberKind::kStatistical}});
  for (const json& difference : report.at("differences")) {
    const json mcnemar = difference.value("mcnemar", json::object());
    table.add({difference.at("row"), difference.at("against"), cell_of(difference, "nll"),
               interval_cell(number_of(difference, "low"), number_of(difference, "high")),
               cell_of(difference, "unit"), cell_of(mcnemar, "only_row_right"),
               cell_of(mcnemar, "only_against_right"), cell_of(mcnemar, "p")});
  }
  return table.empty() ? "" : html_details("Differences of nll", table.markup());
}

// Of each step of a row: `key` is milliseconds or joules.
std::string steps_table(const json& ladder, const char* key, const std::string& caption) {
  HtmlTable table(caption, {{"row"},
                            {"prefill", NumberKind::kMeasured},
                            {"project", NumberKind::kMeasured},
                            {"continue", NumberKind::kMeasured}});
  for (const json& row : ladder) {
    const json& steps = row.at(key);
    table.add({row.at("row"), cell_of(steps, "prefill"), cell_of(steps, "project"),
               cell_of(steps, "continue")});
  }
  return table.markup();
}

std::string times_details(const json& report) {
  const json &ladder = report.at("ladder"), &data = report.at("ladder_data");
  std::string markup = html_details(
      "Milliseconds",
      steps_table(ladder, "milliseconds",
                  "Milliseconds a sequence, median of " + cell_of(data, "timed_sequences") + "."));
  if (data.contains("energy_source")) {
    markup += html_details(
        "Energy",
        steps_table(ladder, "joules", "Joules a sequence: " + cell_of(data, "energy_source")));
  }
  return markup;
}

}  // namespace

std::string ladder_section(const json& report) {
  if (!report.contains("ladder")) return "";
  return html_section("Ladder", html_paragraph(describe_sequences(report.at("ladder_data"))) +
                                    scores_table(report) + html_row_texts(report.at("ladder"), {}) +
                                    differences_table(report) + times_details(report));
}

}  // namespace kvalign
