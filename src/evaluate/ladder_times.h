// How long each step of each row takes and what the machine draws in it, measured on a few texts
// with one text at a time: batches of the ladder itself would hide it. Private to evaluate/.
#pragma once

#include <vector>

#include "kvalign/evaluate/ladder_report.h"
#include "ladder_rows.h"
#include "ladder_setup.h"
#include "sender_caches.h"

namespace kvalign {

struct LadderRowTimes {
  LadderMilliseconds milliseconds = {};
  LadderJoules joules = {};
};

// Medians over `num_texts` texts.
struct LadderTimes {
  std::vector<LadderRowTimes> rows = {};
  double sender_prefill_ms = kUndefined;
  int64_t num_texts = 0;
  std::string energy_source = {};  // EnergyMeter::source
};

LadderTimes measure_times(const LadderSetup& setup, const std::vector<LadderRowPlan>& plans,
                          SenderCaches& senders);

}  // namespace kvalign
