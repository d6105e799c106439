// Writes the two files of a report. See report.h.
#include "kvalign/evaluate/report.h"

#include <filesystem>
#include <stdexcept>

#include "kvalign/core/files.h"

namespace kvalign {

void write_report(const Report& report, const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw std::runtime_error("write_report: cannot make the folder " + folder + ": " +
                             error.message());
  }
  write_file_atomically(folder + "/report.json", to_json(report).dump(2) + "\n");
  write_file_atomically(folder + "/report.md", to_markdown(report));
}

}  // namespace kvalign
