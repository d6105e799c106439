// report.json, schema 1. Members keep the order of reading: what was asked, where, what came.
#include <nlohmann/json.hpp>

#include "json_parts.h"
#include "kvalign/evaluate/report.h"

namespace kvalign {
namespace {

using nlohmann::json;

constexpr int kReportSchema = 1;

json to_json(const FigureValues& figures) {
  return {{"mse", number(figures.mse)},
          {"relative_error", number(figures.relative_error)},
          {"cosine", number(figures.cosine)},
          {"r2", number(figures.r2)}};
}

json to_json(const WorstToken& token, const ReportData& data) {
  return {{"sequence", token.sequence},
          {"token", token.token},
          {"stream", data.stream_names[token.stream]},
          {"error", number(token.error)},
          {"relative_error", number(token.relative_error)}};
}

json to_json(const ClassificationIntervals& scores) {
  return {{"accuracy", to_json(scores.accuracy)},
          {"balanced_accuracy", to_json(scores.balanced_accuracy)},
          {"macro_f1", to_json(scores.macro_f1)}};
}

json to_json(const TaskFigures& figures) {
  json result = to_json(figures.scores);
  result["accuracy_difference"] = to_json(figures.accuracy_difference);
  result["disagreement"] = to_json(figures.disagreement);
  if (figures.own_head) {
    result["own_head"] = to_json(figures.own_head->projected);
    result["own_head"]["true_cache"] = to_json(figures.own_head->true_cache);
  }
  return result;
}

json to_json(const TaskSummary& task) {
  const auto both = [&](Interval ClassificationIntervals::*figure) {
    return json{{"true_cache", to_json(task.true_cache.*figure)},
                {"majority_class", to_json(task.majority_class.*figure)}};
  };
  json result = both(&ClassificationIntervals::accuracy);
  result["num_classes"] = task.num_classes;
  result["balanced_accuracy"] = both(&ClassificationIntervals::balanced_accuracy);
  result["macro_f1"] = both(&ClassificationIntervals::macro_f1);
  for (const FineTuningGain& gain : task.gains) {
    json entry = to_json(gain.gain);
    entry["row"] = gain.row;
    entry["against"] = gain.against;
    result["gains"].push_back(std::move(entry));
  }
  return result;
}

json to_json(const ReportRow& row, const ReportData& data) {
  json headline = json::object(), groups = json::object();
  json streams = json::array(), worst_tokens = json::array();
  for (const NamedInterval& figure : row.headline) headline[figure.name] = to_json(figure.interval);
  for (const GroupFigures& group : row.groups) {
    groups[group.group] = {{"mean", to_json(group.mean)}, {"pooled", to_json(group.pooled)}};
  }
  for (size_t r = 0; r < row.streams.size(); ++r) {
    streams.push_back(to_json(row.streams[r]));
    streams.back()["stream"] = data.stream_names[r];
  }
  for (const WorstToken& token : row.worst_tokens) worst_tokens.push_back(to_json(token, data));
  json result = {{"row", row.row},
                 {"text", row.text},
                 {"num_parameters", row.num_parameters},
                 {"headline", headline},
                 {"groups", groups},
                 {"streams", streams},
                 {"worst_tokens", worst_tokens}};
  if (!row.checkpoint.empty()) result["checkpoint"] = row.checkpoint;
  if (row.task) result["task"] = to_json(*row.task);
  return result;
}

json to_json(const RoundTripRow& row) {
  json headline = json::object();
  for (const NamedInterval& figure : row.headline) headline[figure.name] = to_json(figure.interval);
  return {{"row", row.row}, {"way", row.way}, {"headline", headline}};
}

json reconstruction(const Report& report) {
  json rows = json::array(), absent = json::array(), differences = json::array();
  for (const ReportRow& row : report.rows) rows.push_back(to_json(row, report.data));
  for (const AbsentRow& row : report.absent_rows) {
    absent.push_back({{"row", row.row}, {"why", row.why}});
  }
  for (const RowDifference& difference : report.differences) {
    differences.push_back({{"row", difference.row},
                           {"against", difference.against},
                           {"figure", difference.figure},
                           {"difference", to_json(difference.difference)}});
  }
  return {{"rows", rows}, {"absent_rows", absent}, {"differences", differences}};
}

json to_json(const TrainingCurve& curve) {
  json points = json::array();
  for (const TrainingPoint& point : curve.points) {
    points.push_back({{"step", point.step},
                      {"loss", number(point.loss)},
                      {"validation_loss", number(point.validation_loss)}});
  }
  return {{"row", curve.row}, {"unit", "step"}, {"points", points}};
}

json to_json(const ReportData& data) {
  return {{"folder", data.folder},
          {"sha256", data.sha256},
          {"split_sha256", data.split_sha256},
          {"created_by", data.created_by},
          {"layout", data.flat ? "flat" : "layers"},
          {"sender", data.sender},
          {"receiver", data.receiver},
          {"train_sequences", data.train_sequences},
          {"test_sequences", data.test_sequences},
          {"test_documents", data.test_documents},
          {"test_tokens", data.test_tokens},
          {"skip_first_tokens", data.skip_first_tokens}};
}

}  // namespace

json to_json(const Report& report) {
  json result = {{"schema", kReportSchema},
                 {"recipe", report.recipe},
                 {"evaluate", report.options},
                 {"machine", to_json(report.machine)},
                 {"dataset", to_json(report.data)},
                 {"warnings", report.warnings},
                 {"reconstruction", reconstruction(report)}};
  for (const RoundTripRow& row : report.round_trips) result["round_trips"].push_back(to_json(row));
  if (report.task) result["task"] = to_json(*report.task);
  if (report.certificates) result["certificates"] = to_json(*report.certificates);
  for (const TrainingCurve& curve : report.training) result["training"].push_back(to_json(curve));
  if (report.ladder) add_to_json(*report.ladder, result);
  if (report.cost) add_to_json(*report.cost, result);
  if (report.task_success) add_to_json(*report.task_success, result);
  return result;
}

}  // namespace kvalign
