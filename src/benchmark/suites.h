// The suites, one a file: each lists its cases. Private to benchmark/.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <string>
#include <vector>

#include "kvalign/benchmark/case.h"

namespace kvalign::benchmark {

/// What a suite needs to know.
struct SuiteSetup {
  at::Device device = at::kCPU;
  Stopwatch stopwatch = {};
  std::string receiver = {};  ///< Hugging Face folder; empty: none
  std::function<void(const std::string&)> on_skipped = {};
};

std::vector<Case> projection_cases(const SuiteSetup& setup);
std::vector<Case> streams_cases(const SuiteSetup& setup);
std::vector<Case> cache_cases(const SuiteSetup& setup);
std::vector<Case> codec_cases(const SuiteSetup& setup);
std::vector<Case> training_cases(const SuiteSetup& setup);

}  // namespace kvalign::benchmark
