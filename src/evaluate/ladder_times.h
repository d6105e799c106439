// How long each step of each row takes, measured on a few texts with one text at a time: batches of
// the ladder itself would hide it. Private to evaluate/.
#pragma once

#include <vector>

#include "kvalign/evaluate/ladder_report.h"
#include "ladder_rows.h"
#include "ladder_setup.h"
#include "sender_caches.h"

namespace kvalign {

// Medians over `num_texts` texts.
struct LadderTimes {
  std::vector<LadderMilliseconds> rows = {};
  double sender_prefill_ms = kUndefined;
  int64_t num_texts = 0;
};

LadderTimes measure_times(const LadderSetup& setup, const std::vector<LadderRowPlan>& plans,
                          SenderCaches& senders);

}  // namespace kvalign
