// Names of outcomes. See the header.
#include "kvalign/monitor/request_record.h"

namespace kvalign {

const char* name_of(CacheOutcome outcome) {
  switch (outcome) {
    case CacheOutcome::kApplied:
      return "applied";
    case CacheOutcome::kFallbackReprefill:
      return "fallback_reprefill";
    case CacheOutcome::kUnsupported:
      return "unsupported";
  }
  return "unsupported";
}

}  // namespace kvalign
