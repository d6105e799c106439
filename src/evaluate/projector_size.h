// The sizes that decide what a projector costs, taken from the projector. Private to evaluate/.
#pragma once

#include "kvalign/evaluate/cost.h"
#include "kvalign/projector/kv_projector.h"

namespace kvalign {

ProjectorSize projector_size(const KvProjector& projector);

}  // namespace kvalign
