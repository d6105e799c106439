// A report for people: the table on a terminal and report.md. Tables share their columns.
#include "kvalign/evaluate/report.h"
#include "kvalign/evaluate/text_table.h"
#include "number_text.h"
#include "task_head_text.h"

namespace kvalign {
namespace {

const char* title_of(const std::string& figure) {
  if (figure == "r2") return "R²";
  if (figure == "r2_keys") return "R² keys";
  if (figure == "r2_values") return "R² values";
  if (figure == "relative_error") return "relative error";
  if (figure == "cosine") return "cosine";
  return "MSE";
}

std::string count(int64_t number, const std::string& what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

TextTable headline_table(const Report& report) {
  std::vector<std::string> header{"row", "parameters"};
  for (const NamedInterval& figure : report.rows[0].headline) {
    header.emplace_back(title_of(figure.name));
  }
  if (report.task) header.emplace_back("task accuracy");
  TextTable table(header);
  for (const ReportRow& row : report.rows) {
    std::vector<std::string> cells{row.row, with_commas(row.num_parameters)};
    for (const NamedInterval& figure : row.headline) {
      cells.push_back(format_interval(figure.interval));
    }
    if (row.task) cells.push_back(format_interval(row.task->scores.accuracy));
    table.add(cells);
  }
  return table;
}

TextTable round_trips_table(const Report& report) {
  std::vector<std::string> header{"row", "way"};
  for (const NamedInterval& figure : report.round_trips[0].headline) {
    header.emplace_back(title_of(figure.name));
  }
  TextTable table(header);
  for (const RoundTripRow& row : report.round_trips) {
    std::vector<std::string> cells{row.row, row.way};
    for (const NamedInterval& figure : row.headline) {
      cells.push_back(format_interval(figure.interval));
    }
    table.add(cells);
  }
  return table;
}

constexpr const char* kRoundTrips =
    "Other ways through the projectors that read the receiver's cache; each is compared with the "
    "true cache of the model at its end.\n";

// What was held out, and what the intervals mean.
std::string describe_data(const Report& report) {
  const ReportData& data = report.data;
  std::string text = "Held out: " + count(data.test_sequences, "sequence") + " of " +
                     count(data.test_documents, "document") + ", " +
                     count(data.test_tokens, "token");
  if (data.skip_first_tokens > 0) {
    text += " (the first " + std::to_string(data.skip_first_tokens) +
            " of each sequence are attention sinks and left out of every figure)";
  }
  text += "; trained on " + count(data.train_sequences, "sequence") + ".\n";
  if (data.test_documents < 2) return text + "One document alone gives no interval.\n";
  return text + "Intervals: 95 %, percentile bootstrap over the held-out " +
         (data.test_documents == data.test_sequences ? "sequences" : "documents") + ".\n";
}

std::string describe_absent(const Report& report) {
  std::string text;
  for (const AbsentRow& row : report.absent_rows) {
    text += "Not shown: " + row.row + ", " + row.why + ".\n";
  }
  for (const std::string& warning : report.warnings) text += "Warning: " + warning + "\n";
  return text;
}

std::string differences_section(const Report& report) {
  if (report.differences.empty()) return "";
  std::vector<std::string> header{report.rows[0].row + " minus"};
  for (const NamedInterval& figure : report.rows[0].headline) {
    header.emplace_back(title_of(figure.name));
  }
  TextTable table(header);
  for (size_t i = 0; i < report.differences.size();) {
    const std::string against = report.differences[i].against;
    std::vector<std::string> cells{against};
    for (; i < report.differences.size() && report.differences[i].against == against; ++i) {
      cells.push_back(format_interval(report.differences[i].difference));
    }
    table.add(cells);
  }
  return "\n## Differences\n\nPaired over the resamples; an interval without 0 is a "
         "difference.\n\n" +
         table.markdown();
}

std::string layers_section(const ReportRow& row, const ReportData& data) {
  TextTable table({"stream", "R²", "relative error", "cosine", "MSE"});
  const auto add = [&table](const std::string& name, const FigureValues& figures) {
    table.add({name, format_number(figures.r2), format_number(figures.relative_error),
               format_number(figures.cosine), format_number(figures.mse)});
  };
  for (const GroupFigures& group : row.groups) {
    add(group.group + ", mean", group.mean);
    add(group.group + ", pooled", group.pooled);
  }
  for (size_t r = 0; r < row.streams.size(); ++r) add(data.stream_names[r], row.streams[r]);
  return "\n## Streams of " + row.row + "\n\n" + table.markdown();
}

std::string worst_tokens_section(const ReportRow& row, const ReportData& data) {
  if (row.worst_tokens.empty()) return "";
  TextTable table({"stream", "sequence", "token", "error", "relative error"});
  for (const WorstToken& token : row.worst_tokens) {
    table.add({data.stream_names[token.stream], std::to_string(token.sequence),
               std::to_string(token.token), format_number(token.error),
               format_number(token.relative_error)});
  }
  return "\n## Worst tokens of " + row.row + "\n\n" + table.markdown();
}

constexpr const char* kReportDefinitions = R"(
## Definitions

With y a true vector of the receiver, p the projected one, sums over the held-out tokens of a stream
(keys or values of one layer):

- MSE: sum |y - p|² / (tokens x width)
- relative error: sqrt(sum |y - p|² / sum |y|²)
- cosine: mean over tokens of the cosine of y and p
- R²: 1 - sum |y - p|² / sum |y - m|², m the mean of y over the held-out tokens, per dimension. 0 is as
  good as that mean (which no row is given; the row `mean` has the training split's), 1 is perfect.
- mean: the plain mean of the streams' figures, as in the first table; pooled: one formula over the
  sums of all streams, in which large streams count more.
- balanced accuracy: mean over the classes of the share of it that is found; macro-F1: mean over the classes
  of 2 hits / (times it is true + times it is said).
- worst tokens: by |y - p| / |y|; `token` counts from the start of the sequence.
)";

}  // namespace

std::string to_text(const Report& report) {
  std::string text = headline_table(report).aligned() + "\n" + describe_data(report) +
                     task_head_text(report) + describe_absent(report);
  if (!report.round_trips.empty()) {
    text += std::string("\n") + kRoundTrips + round_trips_table(report).aligned();
  }
  if (report.certificates) text += "\n" + to_text(*report.certificates);
  if (report.cost) text += "\n" + to_text(*report.cost);
  if (report.ladder) text += "\n" + to_text(*report.ladder);
  if (report.task_success) text += "\n" + to_text(*report.task_success);
  return text;
}

std::string to_markdown(const Report& report) {
  const ReportData& data = report.data;
  std::string text = report.ladder ? to_markdown(*report.ladder) + "\n" : "";
  if (report.cost) text += to_markdown(*report.cost) + "\n";
  if (report.task_success) text += to_markdown(*report.task_success) + "\n";
  text += "# Reconstruction: " + data.sender + " to " + data.receiver + "\n\n" +
          headline_table(report).markdown() + "\n" +
          markdown_list(describe_data(report) + describe_absent(report));
  for (const ReportRow& row : report.rows) text += "- `" + row.row + "`: " + row.text + "\n";
  text += "- Data: `" + data.folder + "` by " + data.created_by + ", SHA-256 " + data.sha256 +
          ", split " + data.split_sha256 + "\n";
  text += "- Machine: " + report.machine.cpu + ", " + report.machine.device + ", " +
          count(report.machine.num_threads, "thread") + ", LibTorch " + report.machine.libtorch +
          ", " + report.machine.compiler + ", kvalign " + report.machine.kvalign + ", " +
          report.machine.build + "\n";
  text += differences_section(report);
  if (!report.round_trips.empty()) {
    text += std::string("\n## Round trips\n\n") + kRoundTrips + "\n" +
            round_trips_table(report).markdown();
  }
  text += task_head_markdown(report);
  if (report.certificates) text += "\n" + to_markdown(*report.certificates);
  for (const ReportRow& row : report.rows) {
    if (!row.checkpoint.empty()) text += layers_section(row, data);
  }
  text += worst_tokens_section(report.rows[0], data);
  return text + kReportDefinitions;
}

}  // namespace kvalign
