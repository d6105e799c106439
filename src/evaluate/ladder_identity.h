// The identity gates of everything that a ladder's setup holds. Private to evaluate/.
#pragma once

#include <vector>

#include "kvalign/evaluate/identity_gate.h"
#include "ladder_setup.h"

namespace kvalign {

// Own caches of receiver and sender on the setup's texts, then the dataset's stored caches against
// both.
std::vector<GateResult> check_setup_identity(const LadderSetup& setup,
                                             const CacheTransport& transport,
                                             const EvaluateProgress& progress);

}  // namespace kvalign
