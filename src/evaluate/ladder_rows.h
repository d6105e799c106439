// Which rows a ladder has: what the receiver's cache is made of in each. Private to evaluate/.
#pragma once

#include <cstdint>
#include <vector>

#include "kvalign/evaluate/ladder_options.h"
#include "kvalign/evaluate/ladder_statistics.h"
#include "rows.h"

namespace kvalign {

enum class CacheSource {
  kText,           // none: the receiver re-reads everything in one pass
  kTrueCache,      // its own, stored
  kProjected,      // by LadderRowPlan::projector from the sender's
  kWrongDocument,  // projected likewise, but of another document
  kStart,          // its own of the sinks, and nothing between them and the re-read tokens
  kNone,           // none: the last token of the prefix is its first
  kSenderAlone,    // the sender continues from its own
  kToSender,       // the sender continues from the receiver's, which `projector` compresses
  kWrongToSender,  // compressed likewise, but of another document
  kSenderNoCache   // the last token of the prefix is the sender's first
};

inline bool is_projected(CacheSource source) {
  return source == CacheSource::kProjected || source == CacheSource::kWrongDocument;
}

inline bool is_compressed(CacheSource source) {
  return source == CacheSource::kToSender || source == CacheSource::kWrongToSender;
}

struct LadderRowPlan {
  LadderRowInfo info = {};
  CacheSource source = CacheSource::kText;
  size_t projector = 0;
};

// In the order of the report. `projectors`: the first has all cells, and projects the wrong
// document; those with a way back have rows that the sender continues. Throws
// std::invalid_argument where one has the name of a row that every ladder has.
std::vector<LadderRowPlan> plan_ladder_rows(const LadderOptions& options,
                                            const std::vector<Row>& projectors);

// The row that the gate is about: options.judge or the first projector, exact sinks where there are
// any, nothing re-read. Throws std::invalid_argument where no projector has that name.
size_t judged_row(const LadderOptions& options, const std::vector<Row>& projectors,
                  const std::vector<LadderRowPlan>& plans);

}  // namespace kvalign
