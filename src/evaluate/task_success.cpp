// Texts one after another, then answers and figures. See task_success.h.
#include "kvalign/evaluate/task_success.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "kvalign/core/sha256.h"
#include "ladder_identity.h"
#include "ladder_keys.h"
#include "task_text.h"

namespace kvalign {
namespace {

// To be raised when rows are asked in another way: older task.jsonl files then start anew.
constexpr int kTaskVersion = 1;

std::string hash_of_task(const TaskSetup& setup) {
  nlohmann::json all = describe_setup(*setup.ladder);
  all["version"] = kTaskVersion;
  all["wire"] = setup.ladder->options.wire;
  return sha256_hex(all.dump());
}

double mean_text_tokens(const TaskSetup& setup) {
  double tokens = 0;
  for (const LadderText& text : setup.ladder->texts) {
    tokens += static_cast<double>(text.receiver_ends.size());
  }
  return tokens / static_cast<double>(setup.ladder->texts.size());
}

TaskSuccessReport report_without_rows(const TaskSetup& setup) {
  const LadderSetup& ladder = *setup.ladder;
  TaskSuccessReport report{.file = setup.options.file,
                           .file_sha256 = ladder.tokens_sha256,
                           .sender = ladder.sender.geometry().model,
                           .receiver = ladder.receiver.geometry().model,
                           .question = setup.task.question,
                           .classes = setup.task.classes,
                           .answers = setup.task.answers,
                           .answer = setup.options.answer,
                           .text_tokens = mean_text_tokens(setup),
                           .left_out_seen = ladder.left_out_seen,
                           .left_out_short = ladder.left_out_short,
                           .sinks_show_text = setup.sinks_show_text,
                           .warnings = ladder.warnings};
  const auto judged = std::find_if(
      setup.plans.begin(), setup.plans.end(),
      [](const LadderRowPlan& plan) { return plan.source == CacheSource::kProjected; });
  report.judged = judged->info.row;
  return report;
}

std::vector<int64_t> answer_lengths(const TaskWords& words) {
  std::vector<int64_t> lengths;
  for (const at::Tensor& answer : words.answers) lengths.push_back(answer.size(0));
  return lengths;
}

// Likelihoods of all texts [text][row].
using TaskLikelihoods = std::vector<std::vector<AnswerLikelihoods>>;

std::vector<TaskAnswers> answers_of_rows(const TaskSetup& setup, const TaskLikelihoods& texts,
                                         const AnswersWithoutText& without) {
  std::vector<TaskAnswers> rows;
  for (size_t i = 0; i < setup.plans.size(); ++i) {
    const LadderRowInfo& info = setup.plans[i].info;
    const bool is_sender = setup.plans[i].source == CacheSource::kSenderAlone;
    const TaskWords& words = is_sender ? setup.task.sender : setup.task.receiver;
    rows.push_back({.row = info.row, .text = info.text, .sinks = info.sinks, .wire = info.wire});
    std::vector<AnswerLikelihoods> of_row;
    for (const auto& text : texts) of_row.push_back(text[i]);
    const AnswerLikelihoods prior = setup.options.answer == "batch_calibrated"
                                        ? batch_prior(of_row)
                                        : (is_sender ? without.sender : without.receiver);
    for (const AnswerLikelihoods& text : of_row) {
      rows.back().classes.push_back(
          choose_answer(setup.options.answer, text, prior, answer_lengths(words)));
    }
  }
  const auto& counts = setup.task.train_label_counts;
  const int64_t commonest = std::max_element(counts.begin(), counts.end()) - counts.begin();
  rows.push_back({.row = "majority class",
                  .text = "always the commonest class of the texts that are not held out, " +
                          setup.task.classes[commonest],
                  .classes = std::vector<int64_t>(texts.size(), commonest)});
  rows.insert(rows.end(), setup.text_classifiers.begin(), setup.text_classifiers.end());
  return rows;
}

size_t row_of_source(const std::vector<LadderRowPlan>& plans, CacheSource source) {
  return std::find_if(plans.begin(), plans.end(),
                      [&](const LadderRowPlan& plan) { return plan.source == source; }) -
         plans.begin();
}

void fill_report(const TaskSetup& setup, const std::vector<TaskAnswers>& rows,
                 TaskSuccessReport& report) {
  std::vector<int64_t> labels, documents;
  for (const LadderText& text : setup.ladder->texts) {
    labels.push_back(setup.task.texts.labels[text.number]);
    documents.push_back(text.document);
  }
  fill_task_statistics(rows, labels, documents,
                       {.text_row = row_of_source(setup.plans, CacheSource::kText),
                        .sender_row = row_of_source(setup.plans, CacheSource::kSenderAlone),
                        .bootstrap_resamples = setup.ladder->evaluate.bootstrap_resamples,
                        .seed = static_cast<uint64_t>(setup.ladder->evaluate.seed)},
                       report);
}

}  // namespace

TaskSuccess::TaskSuccess(std::unique_ptr<const TaskSetup> setup) : setup_(std::move(setup)) {}
TaskSuccess::~TaskSuccess() = default;
TaskSuccess::TaskSuccess(TaskSuccess&&) noexcept = default;

TaskSuccess TaskSuccess::open(const Recipe& recipe, const EvaluateOptions& evaluate,
                              const LadderOptions& ladder, const TaskSuccessOptions& options,
                              const EvaluateProgress& progress) {
  return TaskSuccess(set_up_task(recipe, evaluate, ladder, options, progress));
}

std::vector<GateResult> TaskSuccess::check_identity(const CacheTransport& transport,
                                                    const EvaluateProgress& progress) const {
  return check_setup_identity(*setup_->ladder, transport, progress);
}

TaskSuccessReport TaskSuccess::measure(const EvaluateProgress& progress,
                                       const std::function<bool()>& stop_requested) const {
  const TaskSetup& setup = *setup_;
  const LadderSetup& ladder = *setup.ladder;
  TaskSuccessReport report = report_without_rows(setup);
  const std::vector<std::string> keys = row_keys(ladder, setup.plans);
  TaskStore store(ladder.evaluate.output, hash_of_task(setup));
  SenderCaches senders(ladder);
  const AnswersWithoutText without = answers_without_text(setup);
  TaskLikelihoods likelihoods;
  for (size_t text = 0; text < ladder.texts.size(); ++text) {
    const int64_t number = ladder.texts[text].number;
    std::vector<LadderRowPlan> plans;
    std::vector<std::string> missing;
    for (const size_t place : store.missing(number, keys)) {
      plans.push_back(setup.plans[place]);
      missing.push_back(keys[place]);
    }
    if (!plans.empty()) {
      if (stop_requested && stop_requested()) {
        report.interrupted = true;
        return report;
      }
      store.add(number, missing, ask_about_text(setup, plans, without, senders, text));
    }
    senders.forget(text + 1);
    likelihoods.push_back(store.likelihoods(number, keys));
    if (progress) {
      progress("task", static_cast<int64_t>(text) + 1, static_cast<int64_t>(ladder.texts.size()));
    }
  }
  fill_report(setup, answers_of_rows(setup, likelihoods, without), report);
  return report;
}

}  // namespace kvalign
