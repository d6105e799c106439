// JSON lines with the event's name and time in front.
#include "kvalign/train/metrics_log.h"

#include <chrono>
#include <nlohmann/json.hpp>

namespace kvalign {

MetricsLog::MetricsLog(const std::string& path, int64_t keep_bytes) : file_(path, keep_bytes) {}

void MetricsLog::event(const std::string& name, const nlohmann::ordered_json& fields) {
  const std::chrono::duration<double> time = std::chrono::system_clock::now().time_since_epoch();
  nlohmann::ordered_json line = {{"event", name}, {"time", time.count()}};
  line.update(fields);
  file_.append(line.dump() + "\n");
}

}  // namespace kvalign
