// How the drift test of a server is set: its false-alarm rate and the length of its rounds.
#pragma once

#include <cstdint>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct KVALIGN_API DriftOptions {
  double alpha = 0.001;           ///< chance of a false alarm in one round, at most
  int64_t round_requests = 5000;  ///< after so many scores a test begins anew
  int64_t seed = 0;               ///< of the ranks of equal scores

  void describe(OptionVisitor& visitor);
};

}  // namespace kvalign
