// A load's figures for people. See load_result.h.
#include <cstdarg>
#include <cstdio>

#include "kvalign/serve/load_result.h"

namespace kvalign {
namespace {

__attribute__((format(printf, 1, 2))) std::string formatted(const char* format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

std::string counts_text(const std::map<std::string, int64_t>& counts) {
  std::string text;
  for (const auto& [name, count] : counts) {
    text += (text.empty() ? "" : ", ") + name + " " + std::to_string(count);
  }
  return text;
}

std::string row(const char* name, const LoadPercentiles& seconds) {
  return formatted("%-20s%12.3f%12.3f%12.3f%12.3f%12.3f\n", name, 1e3 * seconds.p50,
                   1e3 * seconds.p90, 1e3 * seconds.p99, 1e3 * seconds.p99_9, 1e3 * seconds.max);
}

std::string goodput_text(const LoadResult& result) {
  const LoadOptions& options = result.options;
  const std::string within =
      options.latency_bound_ms > 0 ? formatted(" within %g ms", options.latency_bound_ms) : "";
  return formatted("goodput %.2f %%: %lld of %lld queries applied%s\n", 100 * result.goodput(),
                   static_cast<long long>(result.good), static_cast<long long>(result.queries),
                   within.c_str());
}

}  // namespace

std::string to_text(const LoadResult& result) {
  const LoadOptions& options = result.options;
  const bool generates = options.request == "generate";
  std::string text = formatted(
      "%s: %lld queries (%s) to %s%s%s in %.2f s\n", options.scenario.c_str(),
      static_cast<long long>(result.queries), options.request.c_str(), options.model.c_str(),
      result.version.empty() ? "" : " ", result.version.c_str(), result.seconds);
  text += formatted("answered %lld", static_cast<long long>(result.answered));
  if (!result.outcomes.empty()) text += ": " + counts_text(result.outcomes);
  text += "\n";
  if (!result.errors.empty()) {
    text += "not answered: " + counts_text(result.errors) +
            formatted("; with Retry-After %lld\n", static_cast<long long>(result.retry_after));
  }
  text += formatted("%.2f queries/s, %.2f tokens/s", result.queries_per_second(),
                    static_cast<double>(result.tokens) / result.seconds);
  if (generates) {
    text += formatted(", %.2f pieces/s", static_cast<double>(result.pieces) / result.seconds);
  }
  text += formatted("\n%-20s%12s%12s%12s%12s%12s\n", "ms", "p50", "p90", "p99", "p99.9", "max");
  text += row("latency", result.latency);
  if (generates) {
    text += row("first piece", result.first_piece);
    text += row("between pieces", result.between_pieces);
  }
  text += row("send delay", result.send_delay);
  return text + goodput_text(result);
}

}  // namespace kvalign
