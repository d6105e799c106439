// What `kvalign eval` certifies beside what it measures: a recipe's `evaluate.certify` section.
#pragma once

#include <cstdint>
#include <string>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct KVALIGN_API CertifyOptions {
  int64_t sequences = 0;  ///< held-out sequences whose tokens are certified; 0: no certificates
  int64_t tokens = 64;    ///< of each, evenly spaced; 0: all, which decisions need
  std::string wire = "float8_e4m3fn/token";  ///< of rows that do not name one
  std::string receiver;  ///< Hugging Face folder; empty: nothing is said of attention
  int64_t queries = 4;   ///< last tokens of a sequence whose attention is bounded
  double confidence = 0.95;
  double max_task_distortion = 1;  ///< the gate's D_max; 1: no gate on the task

  void describe(OptionVisitor& visitor);
};

}  // namespace kvalign
