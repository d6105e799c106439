// ladder.jsonl: the scores of each text as they come, so that a stopped ladder goes on. Its first
// line says what decides the numbers; where that differs, the file starts anew. Private to
// evaluate/.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kvalign/evaluate/ladder_statistics.h"
#include "kvalign/train/append_file.h"
#include "ladder_times.h"

namespace kvalign {

class LadderStore {
 public:
  // Reads what is there. An empty `folder` keeps nothing. Throws std::runtime_error where the file
  // cannot be read or written.
  LadderStore(const std::string& folder, const std::string& hash);

  // By the sequence's number in the token file.
  const SequenceScores* find(int64_t sequence) const;
  const std::optional<LadderTimes>& times() const { return times_; }

  void add(const SequenceScores& scores);
  void add(const LadderTimes& times);

 private:
  void write(const nlohmann::json& line);

  std::unique_ptr<AppendFile> file_;
  std::map<int64_t, SequenceScores> scores_;
  std::optional<LadderTimes> times_;
};

}  // namespace kvalign
