// All rows of a ladder on one text. Private to evaluate/.
#pragma once

#include <vector>

#include "kvalign/evaluate/identity_gate.h"
#include "ladder_rows.h"
#include "ladder_setup.h"
#include "sender_caches.h"

namespace kvalign {

// `transport` changes the true cache before it is cast to the wire's dtype. Throws c10::Error
// naming the row whose predictions are not finite.
SequenceScores score_text(const LadderSetup& setup, const std::vector<LadderRowPlan>& plans,
                          SenderCaches& senders, const CacheTransport& transport, size_t text);

}  // namespace kvalign
