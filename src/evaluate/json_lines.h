// A file of JSON lines in which a stopped run is gone on with. Its first line says what decides all
// others; where that differs, the file starts anew. Private to evaluate/.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kvalign/train/append_file.h"

namespace kvalign {

class JsonLines {
 public:
  // Hands every line after the first to `read`. An empty `folder` keeps nothing. Throws
  // std::runtime_error where the file cannot be read or written.
  JsonLines(const std::string& folder, const std::string& file, const nlohmann::json& first_line,
            const std::function<void(const nlohmann::json& line)>& read);

  void append(const nlohmann::json& line);

 private:
  std::unique_ptr<AppendFile> file_;
};

}  // namespace kvalign
