// Writes the three files of a report. See report.h.
#include "kvalign/evaluate/report.h"

#include <filesystem>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "kvalign/evaluate/html_report.h"

namespace kvalign {

void write_report(const Report& report, const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw std::runtime_error("write_report: cannot make the folder " + folder + ": " +
                             error.message());
  }
  const nlohmann::json json = to_json(report);
  write_file_atomically(folder + "/report.json", json.dump(2) + "\n");
  write_file_atomically(folder + "/report.md", to_markdown(report));
  write_file_atomically(folder + "/report.html", to_html(json));
}

}  // namespace kvalign
