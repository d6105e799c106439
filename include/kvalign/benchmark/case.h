// One thing to be measured: several variants of the same work on the same numbers. Each is compared
// with float64 before any is timed; a variant that is wrong ends the run.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "kvalign/benchmark/limits.h"
#include "kvalign/benchmark/measurement.h"
#include "kvalign/benchmark/turns.h"
#include "kvalign/format/export.h"

namespace kvalign::benchmark {

/// A variant with buffers of its own.
struct Subject {
  std::string name;
  std::function<std::vector<at::Tensor>()> run;
  /// What run() should give, in float64. Empty for a whole model's pass, of which there is none.
  std::function<std::vector<at::Tensor>()> reference = {};
  bool is_baseline = false;  ///< the others' times are divided by its
  std::string detail = {};
  /// Of relative_error; NaN: what is usual for the case's dtype.
  double error_limit = std::numeric_limits<double>::quiet_NaN();
  /// Where it does other work than the case says; NaN: the case's.
  double flops = std::numeric_limits<double>::quiet_NaN();
  double bytes = std::numeric_limits<double>::quiet_NaN();
};

/// Where and how carefully cases are measured.
struct Bench {
  at::Device device = at::kCPU;
  Stopwatch stopwatch = {};
  TurnOptions turns = {};
  Limits limits = {};
  int64_t cache_bytes = 0;  ///< of the last cache
  int64_t threads = 1;
};

struct Case {
  std::string suite;
  std::string name;
  at::ScalarType dtype = at::kFloat;
  double flops = 0;
  double bytes = 0;  ///< the least that must be read and written
  bool hot = true;   ///< false: measured with cold buffers alone
  /// Subjects with random buffers of their own; the same names every time. The first is timed twice
  /// a round.
  std::function<std::vector<Subject>(uint64_t seed)> make = {};
  /// Instead of subjects: rows of what can be measured only once.
  std::function<std::vector<Measurement>(const Bench& bench)> measure = {};
};

/// |got - reference| / |reference|, Euclidean, in float64; the largest of all tensors. Throws
/// c10::Error for another number of tensors or other sizes.
KVALIGN_API double relative_error(const std::vector<at::Tensor>& got,
                                  const std::vector<at::Tensor>& reference);

/// 1e-5 for float32, 1e-2 for bfloat16. Throws c10::Error for another type.
KVALIGN_API double usual_error_limit(at::ScalarType dtype);

/// One list of rows with hot buffers and one with cold ones, which rotate over as many sets as hold
/// twice the last cache; the second alone where one set does, or the case asks for it; of a
/// case that measures itself its rows. Throws c10::Error, naming case and
/// variant, for an error above its limit.
KVALIGN_API std::vector<std::vector<Measurement>> run_case(const Case& item, const Bench& bench);

}  // namespace kvalign::benchmark
