// From likelihoods of answers to answers, and from answers to a report's figures. Pure arithmetic:
// knows no model and no file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/evaluate/task_success_report.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// The class that is the answer. `mean`: the largest log_likelihoods[k] / num_tokens[k], as
/// lm-evaluation-harness normalises by length. Other rules: the largest log_likelihoods[k] -
/// prior[k]. For `calibrated` the prior is that of the question without a text, which makes it
/// domain-conditional pointwise mutual information (Holtzman et al. 2021, "Surface Form
/// Competition"); for `batch_calibrated` it is batch_prior. The first of equals. All arguments have
/// an entry a class; throws c10::Error where they do not.
KVALIGN_API int64_t choose_answer(const std::string& rule,
                                  const std::vector<double>& log_likelihoods,
                                  const std::vector<double>& prior,
                                  const std::vector<int64_t>& num_tokens);

/// What a row says when it is asked about all texts, whichever they are: the logarithm of the mean
/// over texts of each answer's probability among the answers (Zhou et al. 2024, "Batch
/// Calibration"). Looks at no label. `log_likelihoods_QK`: at least one text; throws c10::Error for
/// none.
KVALIGN_API std::vector<double> batch_prior(
    const std::vector<std::vector<double>>& log_likelihoods_QK);

/// What one row says of every text.
struct TaskAnswers {
  std::string row = {}, text = {};
  int64_t sinks = 0;
  std::string wire = {};
  std::vector<int64_t> classes = {};  ///< [Q]
};

struct TaskStatisticsOptions {
  size_t text_row = 0, sender_row = 0;  ///< that all others are compared with
  int64_t bootstrap_resamples = 2000;
  uint64_t seed = 1;
};

/// Fills rows, differences, label_counts and texts of `report`, which has classes. `labels` and
/// `documents` [Q]. Throws c10::Error for no text, for two rows of one name, and where a row has
/// another number of answers.
KVALIGN_API void fill_task_statistics(const std::vector<TaskAnswers>& rows,
                                      const std::vector<int64_t>& labels,
                                      const std::vector<int64_t>& documents,
                                      const TaskStatisticsOptions& options,
                                      TaskSuccessReport& report);

}  // namespace kvalign
