// Answers, figures and paired differences. See task_success_statistics.h.
//
// Shapes:  Q texts   K classes   N resamples
#include "kvalign/evaluate/task_success_statistics.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "kvalign/evaluate/ladder_statistics.h"

namespace kvalign {
namespace {

// A row with its figures for the data and each resample.
struct ScoredAnswers {
  at::Tensor classes_Q;
  at::Tensor right_Q;  // bool
  ClassificationScores scores;
};

at::Tensor classes_tensor(const std::vector<int64_t>& classes) {
  return at::tensor(classes, at::kLong);
}

int64_t count_texts(const at::Tensor& true_Q) {
  return true_Q.sum().item<int64_t>();
}

TaskSuccessDifference compare_answers(const ScoredAnswers& row, const ScoredAnswers& against,
                                      const Bootstrap& bootstrap) {
  TaskSuccessDifference difference{
      .figures = intervals(row.scores - against.scores, bootstrap),
      .only_row_right = count_texts(row.right_Q.logical_and(against.right_Q.logical_not())),
      .only_against_right = count_texts(against.right_Q.logical_and(row.right_Q.logical_not()))};
  difference.mcnemar_p = mcnemar_exact(difference.only_row_right, difference.only_against_right);
  return difference;
}

Interval agreement_of(const at::Tensor& classes_Q, const at::Tensor& other_Q,
                      const Bootstrap& bootstrap) {
  const at::Tensor same_Q = (classes_Q == other_Q).to(at::kDouble);
  return bootstrap.interval(bootstrap.sums(same_Q) / bootstrap.sums(at::ones_like(same_Q)));
}

std::vector<int64_t> count_classes(const at::Tensor& classes_Q, int64_t num_classes) {
  const at::Tensor counts_K = classes_Q.bincount({}, num_classes);
  const auto* counts = counts_K.const_data_ptr<int64_t>();
  return {counts, counts + counts_K.numel()};
}

}  // namespace

int64_t choose_answer(const std::string& rule, const std::vector<double>& log_likelihoods,
                      const std::vector<double>& prior, const std::vector<int64_t>& num_tokens) {
  const size_t num_classes = log_likelihoods.size();
  TORCH_CHECK(prior.size() == num_classes && num_tokens.size() == num_classes,
              "choose_answer: expected an entry for each of ", num_classes, " classes, got ",
              prior.size(), " and ", num_tokens.size(), ".");
  std::vector<double> scores;
  for (size_t k = 0; k < num_classes; ++k) {
    scores.push_back(rule == "mean" ? log_likelihoods[k] / static_cast<double>(num_tokens[k])
                                    : log_likelihoods[k] - prior[k]);
  }
  return std::max_element(scores.begin(), scores.end()) - scores.begin();
}

std::vector<double> batch_prior(const std::vector<std::vector<double>>& log_likelihoods_QK) {
  TORCH_CHECK(!log_likelihoods_QK.empty(), "batch_prior: expected at least one text, got none.");
  std::vector<at::Tensor> texts;
  for (const std::vector<double>& answers : log_likelihoods_QK) {
    texts.push_back(at::tensor(answers, at::kDouble));
  }
  const at::Tensor prior_K = at::stack(texts).softmax(1).mean(0).log();
  const auto* prior = prior_K.const_data_ptr<double>();
  return {prior, prior + prior_K.numel()};
}

void fill_task_statistics(const std::vector<TaskAnswers>& rows, const std::vector<int64_t>& labels,
                          const std::vector<int64_t>& documents,
                          const TaskStatisticsOptions& options, TaskSuccessReport& report) {
  std::set<std::string> names;
  for (const TaskAnswers& row : rows) {
    TORCH_CHECK(names.insert(row.row).second, "task: two rows are named '", row.row,
                "'. Give the checkpoint or the classifier another name.");
  }
  const Bootstrap bootstrap(documents, options.bootstrap_resamples, options.seed);
  const auto num_classes = static_cast<int64_t>(report.classes.size());
  const at::Tensor labels_Q = classes_tensor(labels);
  std::vector<ScoredAnswers> scored;
  for (const TaskAnswers& row : rows) {
    const at::Tensor classes_Q = classes_tensor(row.classes);
    scored.push_back(
        {classes_Q, {}, classification_scores(labels_Q, classes_Q, num_classes, bootstrap)});
    scored.back().right_Q = classes_Q == labels_Q;
  }
  report.texts = static_cast<int64_t>(labels.size());
  report.label_counts = count_classes(labels_Q, num_classes);
  for (size_t i = 0; i < rows.size(); ++i) {
    const at::Tensor& classes_Q = scored[i].classes_Q;
    report.rows.push_back(
        {.row = rows[i].row,
         .text = rows[i].text,
         .sinks = rows[i].sinks,
         .wire = rows[i].wire,
         .figures = intervals(scored[i].scores, bootstrap),
         .agreement = agreement_of(classes_Q, scored[options.text_row].classes_Q, bootstrap),
         .said = count_classes(classes_Q, num_classes)});
    for (const size_t against : {options.text_row, options.sender_row}) {
      if (i == against) continue;
      report.differences.push_back(compare_answers(scored[i], scored[against], bootstrap));
      report.differences.back().row = rows[i].row;
      report.differences.back().against = rows[against].row;
    }
  }
}

}  // namespace kvalign
