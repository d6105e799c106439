// The roofline model: no step is faster than its operations at the device's peak, nor than its
// bytes at the bandwidth of its memory (Williams, Waterman and Patterson 2009, CACM 52(4)). An
// estimate and a lower limit: launches, waits and imperfect kernels come on top. Free of LibTorch.
#pragma once

#include <string>

#include "kvalign/evaluate/cost.h"
#include "kvalign/evaluate/target.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct KVALIGN_API Roofline {
  double compute_seconds = 0;  ///< operations / peak
  double memory_seconds = 0;   ///< bytes / bandwidth
  std::string dtype = {};      ///< in which the device computes: see compute_type

  double seconds() const;
  /// "memory" or "compute": what decides.
  std::string bound_by() const;
};

/// `work` was counted with numbers of `dtype`. Throws std::invalid_argument as compute_type does.
KVALIGN_API Roofline roofline(const Work& work, const Target& target, const std::string& dtype);

}  // namespace kvalign
