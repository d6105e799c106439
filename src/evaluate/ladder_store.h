// ladder.jsonl: the scores of each text as they come, so that a stopped ladder goes on, and one
// with more rows computes no more than those. Its first line says what decides the numbers of every
// row; where that differs, the file starts anew. A row's key says what decides its own. Private to
// evaluate/.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "json_lines.h"
#include "kvalign/evaluate/ladder_statistics.h"
#include "ladder_times.h"

namespace kvalign {

class LadderStore {
 public:
  // Reads what is there. An empty `folder` keeps nothing. Throws std::runtime_error where the file
  // cannot be read or written.
  LadderStore(const std::string& folder, const std::string& hash);

  // Which of `keys` have no scores of a sequence, by its number in the token file: places in
  // `keys`.
  std::vector<size_t> missing(int64_t sequence, const std::vector<std::string>& keys) const;

  // The rows of `keys`, all of which must be there.
  SequenceScores scores(int64_t sequence, const std::vector<std::string>& keys) const;

  // Those of exactly these rows, or none: times of two runs are not to be compared.
  std::optional<LadderTimes> times(const std::vector<std::string>& keys) const;

  // `scores.rows` and `times.rows` are those of `keys`.
  void add(const SequenceScores& scores, const std::vector<std::string>& keys);
  void add(const LadderTimes& times, const std::vector<std::string>& keys);

 private:
  struct Sequence {
    SequenceScores about;  // without rows
    std::map<std::string, RowScores> rows;
  };
  struct Times {
    std::vector<std::string> keys;
    LadderTimes times;
  };
  void read(const nlohmann::json& line);

  std::map<int64_t, Sequence> sequences_;
  std::optional<Times> times_;
  JsonLines lines_;  // fills in the others
};

}  // namespace kvalign
