// metrics.jsonl: one JSON object a line, `event` first, then `time` (Unix seconds), then the fields
// of the event with their units in the names. Not a logger for humans: the tool writes those lines.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kvalign/format/export.h"
#include "kvalign/train/append_file.h"

namespace kvalign {

class KVALIGN_API MetricsLog {
 public:
  /// Opens or creates `path`, keeping its first `keep_bytes`. Throws std::runtime_error.
  MetricsLog(const std::string& path, int64_t keep_bytes);

  /// Writes one line. `fields` is a JSON object; a number that is not finite is written as null.
  void event(const std::string& name, const nlohmann::ordered_json& fields);

  void sync() { file_.sync(); }
  int64_t size_bytes() const { return file_.size_bytes(); }

 private:
  AppendFile file_;
};

}  // namespace kvalign
