// A device that costs are estimated for: what its maker's data sheet says of it. Read from a YAML
// file, one a device (configs/targets/); nothing here was measured. Free of LibTorch.
#pragma once

#include <string>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Operations a second by type, dense (without sparsity), a multiply-add counted as two.
struct KVALIGN_API PeakFlops {
  double float32 = 0;
  double float16 = 0;  ///< 0, as of the other two: the device does not compute in it
  double bfloat16 = 0;
  double float8 = 0;        ///< E4M3 and E5M2
  std::string source = {};  ///< document, version, table

  void describe(OptionVisitor& visitor);
};

struct KVALIGN_API TargetMemory {
  double bytes_per_second = 0;
  std::string source = {};

  void describe(OptionVisitor& visitor);
};

/// What the device may draw at most. Not what it draws.
struct KVALIGN_API TargetPowerLimit {
  double watts = 0;
  std::string source = {};

  void describe(OptionVisitor& visitor);
};

struct KVALIGN_API Target {
  std::string name = {};
  PeakFlops peak_flops_per_second = {};
  TargetMemory memory = {};
  TargetPowerLimit power_limit = {};

  void describe(OptionVisitor& visitor);
};

/// Reads `path`. Throws std::invalid_argument naming the file and the key for an unknown key, a
/// wrong type, a negative figure, and a missing name, source or figure (of the peaks only float32
/// must be there).
KVALIGN_API Target read_target(const std::string& path);

/// The type in which a device multiplies numbers of another type, and how fast.
struct ComputeType {
  std::string dtype = {};
  double flops_per_second = 0;
};

/// `dtype` itself where the device has it; else the next wider type that it has: float8 in float16,
/// bfloat16 or float32; float16 and bfloat16 in float32. Throws std::invalid_argument for a type
/// that is none of float32, float16, bfloat16 and float8.
KVALIGN_API ComputeType compute_type(const Target& target, const std::string& dtype);

}  // namespace kvalign
