// The numbers of the status page. Private to monitor/.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/monitor/drift_test.h"
#include "metrics.h"
#include "recent.h"

namespace kvalign {

// What a model's scores are compared with, and how it stands.
struct DriftStatus {
  std::string model = {};
  size_t reference_scores = 0;
  DriftOptions options = {};
  DriftState state = {};
};

// Everything that counters and gauges say; the caller sees to it that no request is half counted.
nlohmann::json counted_status(const Metrics& metrics);

// {"phases", "errors"}: percentiles of the latest requests, and the plot of their errors as SVG,
// null where there is none.
nlohmann::json recent_status(const Recent& recent);

nlohmann::json drift_status(const std::vector<DriftStatus>& tests);

}  // namespace kvalign
