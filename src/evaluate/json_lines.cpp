// Reads as far as the lines are whole, and goes on from there. See json_lines.h.
#include "json_lines.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "kvalign/core/files.h"

namespace kvalign {

JsonLines::JsonLines(const std::string& folder, const std::string& file,
                     const nlohmann::json& first_line,
                     const std::function<void(const nlohmann::json& line)>& read) {
  if (folder.empty()) return;
  std::filesystem::create_directories(folder);
  const std::string path = folder + "/" + file;
  const std::string text = std::filesystem::exists(path) ? read_file(path) : "";
  int64_t kept_bytes = 0;
  // A line without its end was being written when the run stopped.
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    const auto line =
        nlohmann::json::parse(text.substr(begin, end - begin), nullptr, /*exceptions=*/false);
    if (line.is_discarded() || (begin == 0 && line != first_line)) break;
    if (begin > 0) read(line);
    kept_bytes = static_cast<int64_t>(end) + 1;
  }
  file_ = std::make_unique<AppendFile>(path, kept_bytes);
  if (kept_bytes == 0) append(first_line);
}

void JsonLines::append(const nlohmann::json& line) {
  if (file_) file_->append(line.dump() + "\n");
}

}  // namespace kvalign
