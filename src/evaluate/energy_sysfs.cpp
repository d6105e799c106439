// Small files of Linux' sysfs. See energy_counter.h.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "energy_counter.h"

namespace kvalign {

std::string read_sysfs_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<int64_t> read_sysfs_number(const std::string& path) {
  const std::string text = read_sysfs_line(path);
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

std::vector<std::string> sysfs_folders(const std::string& parent, const std::string& prefix) {
  std::error_code error;
  std::vector<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory(error) && name.rfind(prefix, 0) == 0) {
      folders.push_back(entry.path().string());
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace kvalign
