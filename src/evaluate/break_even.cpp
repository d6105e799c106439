// See break_even.h.
#include "kvalign/evaluate/break_even.h"

#include <algorithm>
#include <stdexcept>

namespace kvalign {

std::string name_of(FasterWhen when) {
  switch (when) {
    case FasterWhen::kAlways:
      return "always";
    case FasterWhen::kAbove:
      return "above";
    case FasterWhen::kBelow:
      return "below";
    case FasterWhen::kNever:
      break;
  }
  return "never";
}

BreakEven break_even_bandwidth(const TransferEstimate& transfer, const TransferEstimate& other) {
  const double saved_seconds = other.seconds_sender + other.seconds_receiver -
                               transfer.seconds_sender - transfer.seconds_receiver;
  const double more_bits = 8 * (transfer.bytes_sent - other.bytes_sent);
  if (more_bits <= 0 && saved_seconds >= 0) {
    const bool equal = more_bits == 0 && saved_seconds == 0;
    return {equal ? FasterWhen::kNever : FasterWhen::kAlways};
  }
  if (more_bits >= 0 && saved_seconds <= 0) return {FasterWhen::kNever};
  return {more_bits > 0 ? FasterWhen::kAbove : FasterWhen::kBelow, more_bits / saved_seconds};
}

BreakEven break_even_tokens(int64_t shortest, int64_t longest,
                            const std::function<bool(int64_t tokens)>& is_faster) {
  if (shortest < 1) {
    throw std::invalid_argument(
        "break_even_tokens: expected a shortest prompt of at least 1, got " +
        std::to_string(shortest));
  }
  const bool at_shortest = is_faster(shortest);
  int64_t same = shortest, changed = shortest;
  while (changed < longest && is_faster(changed) == at_shortest) {
    same = changed;
    changed = std::min(longest, 2 * changed);
  }
  if (is_faster(changed) == at_shortest) {
    return {at_shortest ? FasterWhen::kAlways : FasterWhen::kNever};
  }
  while (changed - same > 1) {
    const int64_t middle = same + (changed - same) / 2;
    (is_faster(middle) == at_shortest ? same : changed) = middle;
  }
  // Above: from `changed` on; below: shorter than `changed`.
  return {at_shortest ? FasterWhen::kBelow : FasterWhen::kAbove, static_cast<double>(changed)};
}

}  // namespace kvalign
