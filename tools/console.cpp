// Log lines and the progress bar on stderr.
#include "console.h"

#include <fmt/format.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

namespace kvalign::tools {
namespace {

constexpr auto kBarInterval = std::chrono::milliseconds(100);
constexpr auto kLineInterval = std::chrono::seconds(5);

size_t terminal_columns() {
  winsize size = {};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

std::string bar_of(int64_t done, int64_t total) {
  constexpr int64_t kWidth = 24;
  const int64_t filled = total > 0 ? std::min(kWidth, kWidth * done / total) : 0;
  return fmt::format("[{:#>{}}{:.>{}}]", "", filled, "", kWidth - filled);
}

}  // namespace

Console::Console()
    : logger_("kvalign", std::make_shared<spdlog::sinks::ansicolor_stderr_sink_st>()),
      is_terminal_(isatty(STDERR_FILENO) != 0) {
  logger_.set_pattern("%H:%M:%S %^%l%$ %v");
}

Console::~Console() {
  clear_bar();
}

void Console::start(const std::string& command, const Machine& machine,
                    const std::string& options) {
  info(fmt::format("kvalign {} {}, {} build, LibTorch {}", KVALIGN_VERSION, command, machine.build,
                   machine.libtorch));
  info(fmt::format("device {}, CPU {}, threads {}", machine.device, machine.cpu,
                   machine.num_threads));
  info("options: " + options);
}

void Console::progress(const std::string& what, int64_t done, int64_t total,
                       const std::string& detail) {
  const Clock::time_point now = Clock::now();
  if (what != progress_of_) {
    progress_of_ = what;
    next_progress_ = is_terminal_ ? now : now + kLineInterval;
  }
  if (now < next_progress_ && !(is_terminal_ && done == total)) return;
  next_progress_ = now + (is_terminal_ ? Clock::duration(kBarInterval) : kLineInterval);
  const std::string counts =
      fmt::format("{}/{}{}{}", done, total, detail.empty() ? "" : "  ", detail);
  if (!is_terminal_) {
    info(what + " " + counts);
    return;
  }
  const std::string line = fmt::format("{} {} {}", what, bar_of(done, total), counts);
  std::fprintf(stderr, "\r\x1b[K%s", line.substr(0, terminal_columns() - 1).c_str());
  std::fflush(stderr);
  bar_is_shown_ = true;
}

void Console::log(spdlog::level::level_enum level, const std::string& text) {
  clear_bar();
  logger_.log(level, text);
}

void Console::clear_bar() {
  if (bar_is_shown_) std::fputs("\r\x1b[K", stderr);
  bar_is_shown_ = false;
}

std::string duration_text(double seconds) {
  const int64_t whole = std::llround(std::max(0.0, seconds));
  const int64_t minutes = whole / 60 % 60;
  return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, minutes, whole % 60)
                       : fmt::format("{}:{:02}", minutes, whole % 60);
}

}  // namespace kvalign::tools
