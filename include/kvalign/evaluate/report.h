// What an evaluation found, and its forms: report.json for machines, report.md and report.html
// (html_report.h) for people, a table for a terminal. Holds results only; evaluate.h computes them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kvalign/evaluate/bootstrap.h"
#include "kvalign/evaluate/certificate_report.h"
#include "kvalign/evaluate/cost_report.h"
#include "kvalign/evaluate/ladder_report.h"
#include "kvalign/evaluate/machine.h"
#include "kvalign/evaluate/task_success_report.h"
#include "kvalign/evaluate/training_curve.h"
#include "kvalign/evaluate/worst_tokens.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// A headline figure by name: r2_keys and r2_values (r2 if flat), relative_error, cosine, mse; each
/// the mean over its streams.
struct NamedInterval {
  std::string name = {};
  Interval interval = {};
};

/// The four figures of reconstruction.h as plain numbers; NaN where undefined.
struct FigureValues {
  double mse = 0, relative_error = 0, cosine = 0, r2 = 0;
};

/// Streams taken together: `keys`, `values` and `all`; only `all` if flat.
struct GroupFigures {
  std::string group = {};
  FigureValues mean = {}, pooled = {};
};

/// What a task head that was trained on true receiver caches says of a row's caches.
struct TaskFigures {
  Interval accuracy = {};
  Interval accuracy_difference = {};  ///< to the same head on the true caches, paired
  Interval disagreement = {};         ///< share of sequences labelled unlike on the true cache
};

struct ReportRow {
  std::string row = {};         ///< short name
  std::string text = {};        ///< what it is
  std::string checkpoint = {};  ///< path; empty for a baseline
  int64_t num_parameters = 0;
  std::vector<NamedInterval> headline = {};
  std::vector<GroupFigures> groups = {};
  std::vector<FigureValues> streams = {};  ///< in the order of Report::stream_names
  std::optional<TaskFigures> task = {};
  std::vector<WorstToken> worst_tokens = {};
};

struct AbsentRow {
  std::string row = {}, why = {};
};

/// figure(row) - figure(against), paired over the resamples.
struct RowDifference {
  std::string row = {}, against = {}, figure = {};
  Interval difference = {};
};

/// The task as such; only where the dataset has labels.
struct TaskSummary {
  int64_t num_classes = 0;
  Interval true_cache = {};      ///< accuracy of the head on the true receiver caches
  Interval majority_class = {};  ///< accuracy of always saying the commonest training label
};

/// Where the numbers come from.
struct ReportData {
  std::string folder = {}, sha256 = {}, split_sha256 = {}, created_by = {};
  std::string sender = {}, receiver = {};  ///< names of the models
  bool flat = false;
  int64_t train_sequences = 0, test_sequences = 0;
  int64_t test_documents = 0;     ///< what the bootstrap draws
  int64_t test_tokens = 0;        ///< without the skipped ones
  int64_t skip_first_tokens = 0;  ///< of each sequence: attention sinks
  std::vector<std::string> stream_names = {};
};

struct Report {
  nlohmann::json recipe = {};   ///< resolved
  nlohmann::json options = {};  ///< EvaluateOptions
  Machine machine = {};
  ReportData data = {};
  std::vector<ReportRow> rows = {};
  std::vector<AbsentRow> absent_rows = {};
  std::vector<RowDifference> differences = {};  ///< of the first row to every other
  std::optional<TaskSummary> task = {};
  std::optional<CertificateReport> certificates = {};
  std::optional<LadderReport> ladder = {};
  std::vector<TrainingCurve> training = {};  ///< of the run folders that have a metrics.jsonl
  std::optional<CostReport> cost = {};       ///< of the ladder's rows
  std::optional<TaskSuccessReport> task_success = {};
  std::vector<std::string> warnings = {};
};

/// Schema 1: {"schema", "recipe", "evaluate", "machine", "dataset", "warnings", "reconstruction":
/// {"rows", "absent_rows", "differences"}, "task", "certificates", "training"} and the keys of
/// add_to_json in ladder_report.h, cost_report.h and task_success_report.h;
/// results/report.schema.json says all of it. NaN is null.
KVALIGN_API nlohmann::json to_json(const Report& report);

/// The ladder; headline table, differences, a table a checkpoint of its layers, worst tokens,
/// definitions.
KVALIGN_API std::string to_markdown(const Report& report);

/// The headline table in aligned columns, and what must be said of it; then the ladder.
KVALIGN_API std::string to_text(const Report& report);

/// Makes `folder` where needed and writes report.json, report.md and report.html, each in one
/// step.
/// Throws std::runtime_error naming the path.
KVALIGN_API void write_report(const Report& report, const std::string& folder);

}  // namespace kvalign
