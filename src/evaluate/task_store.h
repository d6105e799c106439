// task.jsonl: the likelihoods of each text's answers as they come, so that a stopped run goes on,
// and one with more rows asks about no more than those. Private to evaluate/.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "json_lines.h"

namespace kvalign {

// Log-likelihood in nats of each class's answer after one row's cache.
using AnswerLikelihoods = std::vector<double>;

class TaskStore {
 public:
  // Reads what is there; `hash` says what decides the numbers of every row. Errors: see JsonLines.
  TaskStore(const std::string& folder, const std::string& hash);

  // Which of `keys` have no likelihoods of a text, by its number in the task file: places in
  // `keys`.
  std::vector<size_t> missing(int64_t text, const std::vector<std::string>& keys) const;

  // Of the rows of `keys`, all of which must be there.
  std::vector<AnswerLikelihoods> likelihoods(int64_t text,
                                             const std::vector<std::string>& keys) const;

  // `rows` are those of `keys`.
  void add(int64_t text, const std::vector<std::string>& keys,
           const std::vector<AnswerLikelihoods>& rows);

 private:
  void read(const nlohmann::json& line);

  std::map<int64_t, std::map<std::string, AnswerLikelihoods>> texts_;
  JsonLines lines_;  // fills in the texts
};

}  // namespace kvalign
