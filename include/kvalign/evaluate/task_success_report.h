// How often a model answers right after each kind of cache: the seed's task success. Holds results
// only; task_success.h measures them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/evaluate/classification.h"
#include "kvalign/evaluate/identity_gate.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct TaskSuccessRow {
  std::string row = {};                  ///< unique
  std::string text = {};                 ///< what it is
  int64_t sinks = 0;                     ///< first tokens that the receiver computed itself
  std::string wire = {};                 ///< type in which a cache was sent; empty where none was
  ClassificationIntervals figures = {};  ///< accuracy is task success
  Interval agreement = {};               ///< share of texts answered as by the row `text`
  std::vector<int64_t> said = {};        ///< how often each class was the answer [K]
};

/// figure(row) - figure(against), paired over the texts; positive: `row` is better.
struct TaskSuccessDifference {
  std::string row = {}, against = {};
  ClassificationIntervals figures = {};
  int64_t only_row_right = 0, only_against_right = 0;  ///< texts that one has right alone
  double mcnemar_p = 1;                                ///< exact, two-sided
};

struct TaskSuccessReport {
  std::string file = {}, file_sha256 = {};
  std::string sender = {}, receiver = {};
  std::string question = {};
  std::vector<std::string> classes = {}, answers = {};  ///< [K]
  std::vector<int64_t> label_counts = {};               ///< texts of each class [K]
  std::string answer = {};                              ///< TaskSuccessOptions::answer
  int64_t texts = 0;
  double text_tokens = 0;        ///< mean of the receiver's tokens a text
  int64_t left_out_seen = 0;     ///< texts that the fit has seen
  int64_t left_out_short = 0;    ///< texts with too few tokens
  bool sinks_show_text = false;  ///< the first `sinks` tokens are not those of every text
  std::vector<GateResult> gates = {};
  std::vector<TaskSuccessRow> rows = {};
  std::vector<TaskSuccessDifference> differences = {};  ///< to `text` and to `sender alone`
  std::string judged = {};  ///< the first checkpoint's row, which the conclusion is about
  std::vector<std::string> warnings = {};
  bool interrupted = false;  ///< stopped before the last text: no rows
};

/// Adds "task_success" to report.json's object.
KVALIGN_API void add_to_json(const TaskSuccessReport& report, nlohmann::json& json);

/// Table for a terminal; ends with the conclusion.
KVALIGN_API std::string to_text(const TaskSuccessReport& report);

KVALIGN_API std::string to_markdown(const TaskSuccessReport& report);

/// One sentence: what the judged row, reading the text and the sender alone have right.
KVALIGN_API std::string conclusion(const TaskSuccessReport& report);

}  // namespace kvalign
