// Puts an evaluation together: data and split, rows, passes, intervals, report. See evaluate.h.
#include "kvalign/evaluate/evaluate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <stdexcept>

#include "certify.h"
#include "headline.h"
#include "kvalign/core/device.h"
#include "kvalign/core/options_json.h"
#include "passes.h"
#include "round_trips.h"
#include "rows.h"
#include "task_agreement.h"

namespace kvalign {
namespace {

// The figures of the data itself, for column `stream` of [N, R] or all of [N].
FigureValues values_of(const Figures& figures, int64_t stream = 0) {
  const auto value = [&](const at::Tensor& figure) {
    const at::Tensor data = figure.dim() == 2 ? figure[0][stream] : figure[0];
    return data.item<double>();
  };
  return {value(figures.mse), value(figures.relative_error), value(figures.cosine),
          value(figures.r2)};
}

ReportRow report_row(const Row& row, const SummedErrors& sums,
                     const std::vector<StreamGroup>& groups) {
  ReportRow result{.row = row.name,
                   .text = row.text,
                   .checkpoint = row.checkpoint,
                   .num_parameters = row.num_parameters};
  for (const StreamGroup& group : groups) {
    result.groups.push_back({group.name, values_of(mean_figures(sums, group.streams)),
                             values_of(pooled_figures(sums, group.streams))});
  }
  const Figures streams = stream_figures(sums);
  for (int64_t r = 0; r < streams.mse.size(1); ++r) {
    result.streams.push_back(values_of(streams, r));
  }
  return result;
}

// Fills in rows and differences of `report` from what the test pass measured.
void fill_rows(Report& report, const std::vector<Row>& rows, const TestPass& pass,
               const Bootstrap& bootstrap) {
  const auto groups =
      stream_groups(static_cast<int64_t>(report.data.stream_names.size()), report.data.flat);
  std::vector<Headline> first;
  for (size_t i = 0; i < rows.size(); ++i) {
    const SummedErrors sums = resample(pass.targets, pass.rows[i].sums, bootstrap);
    ReportRow row = report_row(rows[i], sums, groups);
    const std::vector<Headline> own = headlines(sums, groups);
    for (size_t h = 0; h < own.size(); ++h) {
      row.headline.push_back({own[h].name, bootstrap.interval(own[h].figures_N)});
      if (i == 0) continue;
      report.differences.push_back({rows[0].name, rows[i].name, own[h].name,
                                    bootstrap.interval(first[h].figures_N - own[h].figures_N)});
    }
    if (i == 0) first = own;
    row.worst_tokens = pass.rows[i].worst_tokens;
    report.rows.push_back(std::move(row));
  }
}

// Fills in what task heads say of the rows.
void fill_task(Report& report, const std::vector<Row>& rows, const TestPass& pass,
               const Bootstrap& bootstrap, const TaskAgreement& task) {
  std::vector<PooledRow> pooled;
  for (size_t i = 0; i < rows.size(); ++i) {
    pooled.push_back({.name = rows[i].name,
                      .is_checkpoint = !rows[i].checkpoint.empty(),
                      .pooled_QC = pass.rows[i].pooled_QC,
                      .own_head = rows[i].task_head});
    report.rows[i].task = task.figures(pooled.back(), bootstrap);
  }
  report.task = task.summary(pooled, bootstrap);
}

// Of each run folder that tells how its checkpoint was trained, once.
std::vector<TrainingCurve> training_curves(const std::vector<Row>& rows) {
  std::vector<TrainingCurve> curves;
  std::set<std::filesystem::path> seen;
  for (const Row& row : rows) {
    if (row.checkpoint.empty()) continue;
    const auto log = std::filesystem::path(row.checkpoint).replace_filename("metrics.jsonl");
    if (!std::filesystem::exists(log) || !seen.insert(log).second) continue;
    TrainingCurve curve{row.name, read_training_points(log.string())};
    if (!curve.points.empty()) curves.push_back(std::move(curve));
  }
  return curves;
}

ReportData describe_data(const PairedDataset& dataset, const Split& split,
                         int64_t skip_first_tokens) {
  const DatasetIndex& index = dataset.index();
  ReportData data{.folder = dataset.folder().string(),
                  .sha256 = dataset.sha256(),
                  .split_sha256 = split.sha256,
                  .created_by = index.created_by,
                  .sender = index.sender.geometry.model,
                  .receiver = index.receiver.geometry.model,
                  .flat = index.layout == DatasetLayout::kFlat,
                  .train_sequences = static_cast<int64_t>(split.train.size()),
                  .test_sequences = static_cast<int64_t>(split.test.size()),
                  .skip_first_tokens = skip_first_tokens,
                  .stream_names = dataset.receiver_stream_names()};
  for (const int64_t sequence : split.test) {
    data.test_tokens += dataset.sequence_length(sequence) - skip_first_tokens;
  }
  return data;
}

bool wants_mean(const EvaluateOptions& options) {
  return std::find(options.baselines.begin(), options.baselines.end(), "mean") !=
         options.baselines.end();
}

// Nothing where the training split has one class only: there is no task to agree on.
std::optional<TaskAgreement> train_task(const TrainingPass& training, const TestPass& pass,
                                        const Recipe& recipe, std::vector<std::string>& warnings) {
  if (training.pooled.labels_Q.min().equal(training.pooled.labels_Q.max())) {
    warnings.push_back("All training sequences have one label: task agreement is not measured.");
    return std::nullopt;
  }
  return TaskAgreement(training.pooled, pass.pooled, recipe.loss.task_head);
}

}  // namespace

Report evaluate(const Recipe& recipe, const EvaluateOptions& options,
                const EvaluateProgress& progress) {
  validate_options(options);
  const at::Device device = resolve_device(recipe.device);
  const auto dataset = open_dataset(recipe.dataset);
  const Split split = split_by_sequence(*dataset, recipe.split);
  if (split.test.empty()) {
    throw std::invalid_argument(
        "evaluate: the test split holds no sequence. Expected split.test above 0.");
  }
  const int64_t skip = num_skipped_tokens(recipe.dataset, *dataset);

  Report report{.recipe = options_to_json(recipe),
                .options = options_to_json(options),
                .machine = describe_machine(device.str()),
                .data = describe_data(*dataset, split, skip)};
  const RowContext row_context{*dataset, split.sha256, skip, device};
  std::vector<Row> rows = checkpoint_rows(options, row_context, report.warnings);
  for (Row& row : baseline_rows(options, row_context, report.absent_rows)) {
    rows.push_back(std::move(row));
  }
  check_certify_options(options.certify, dataset->has_labels());
  report.training = training_curves(rows);
  const PassContext context{dataset, skip, options.batch_tokens, device, progress};
  TrainingPass training;
  if (wants_mean(options) || dataset->has_labels()) {
    training = read_training_split(context, split.train);
  }
  if (wants_mean(options)) {
    rows.push_back(mean_row(training.mean_RD.to(device), report.data.train_sequences));
  }
  if (rows.empty()) {
    throw std::invalid_argument(
        "evaluate: there is nothing to evaluate. Give a checkpoint or a "
        "baseline that suits the data.");
  }

  const at::Tensor mean_RD = test_mean(context, split.test);
  const TestPass pass =
      measure_test_split(context, split.test, mean_RD, rows, options.worst_tokens);
  const Bootstrap bootstrap(pass.documents, options.bootstrap_resamples,
                            static_cast<uint64_t>(options.seed));
  report.data.test_documents = bootstrap.num_documents();
  std::optional<TaskAgreement> task;
  if (dataset->has_labels()) task = train_task(training, pass, recipe, report.warnings);
  fill_rows(report, rows, pass, bootstrap);
  if (task) fill_task(report, rows, pass, bootstrap, *task);
  report.round_trips = measure_round_trips(context, split.test, mean_RD, rows, bootstrap);
  if (options.certify.sequences > 0) {
    check_certify_options(options.certify, task.has_value());
    report.certificates = certify(
        rows, options.certify,
        {.data = context, .sequences = split.test, .pass = pass, .task = task ? &*task : nullptr});
  }
  return report;
}

}  // namespace kvalign
