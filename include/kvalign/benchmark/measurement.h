// One measurement: how long one variant of one case takes, beside its baselines and the machine's
// limits. One JSON line of the results, and one row of the table.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/benchmark/spread.h"
#include "kvalign/format/export.h"

namespace kvalign::benchmark {

struct BaselineRatio {
  std::string baseline;
  Spread ratio;  ///< of the variant's time to the baseline's, round by round
  Verdict verdict = Verdict::kEqual;
};

struct Measurement {
  std::string suite = {};
  std::string case_name = {};
  std::string variant = {};
  std::string detail = {};  ///< of how the variant does it; may be empty
  std::string dtype = {};
  std::string device = {};
  int64_t threads = 0;
  std::string buffers = {};  ///< hot: the same every call; cold: others, beyond the last cache
  int64_t rounds = 0;
  int64_t repetitions = 0;  ///< calls of a sample
  Spread milliseconds = {};
  double first_call_ms = 0;
  std::vector<BaselineRatio> ratios = {};
  Spread noise = {};  ///< ratio of the A/A pair of the case's first variant
  double flops = 0;
  double bytes = 0;  ///< the least that must be read and written
  double percent_of_peak = 0;
  double percent_of_copy = 0;  ///< NaN where buffers are hot: they need not cross the memory bus
  double relative_error = std::numeric_limits<double>::quiet_NaN();  ///< against float64; NaN: none
};

/// What cannot be is null.
KVALIGN_API nlohmann::json to_json(const Measurement& measurement);

/// The rows of one case in one state of its buffers, for a terminal. Not for an empty list.
KVALIGN_API std::string to_text(const std::vector<Measurement>& rows);

}  // namespace kvalign::benchmark
