// What people see on stderr: log lines, and a progress bar where stderr is a terminal. Results
// never come here, and nothing here is meant for machines (metrics.jsonl is).
#pragma once

#include <spdlog/logger.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "kvalign/evaluate/machine.h"

namespace kvalign::tools {

class Console {
 public:
  Console();
  ~Console();  ///< leaves the line of the bar
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  /// The first lines of a run: version, what runs where, and where its options come from.
  void start(const std::string& command, const Machine& machine, const std::string& options);

  void info(const std::string& text) { log(spdlog::level::info, text); }
  void warning(const std::string& text) { log(spdlog::level::warn, text); }
  void error(const std::string& text) { log(spdlog::level::err, text); }

  /// A bar where stderr is a terminal, else a log line now and then. `detail` follows the counts.
  void progress(const std::string& what, int64_t done, int64_t total,
                const std::string& detail = "");

 private:
  using Clock = std::chrono::steady_clock;

  void log(spdlog::level::level_enum level, const std::string& text);
  void clear_bar();

  spdlog::logger logger_;
  bool is_terminal_;
  bool bar_is_shown_ = false;
  std::string progress_of_;
  Clock::time_point next_progress_ = {};
};

/// "1:05" or "2:03:04".
std::string duration_text(double seconds);

}  // namespace kvalign::tools
