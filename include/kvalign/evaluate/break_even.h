// Where one way of sending a prompt becomes faster than another: from which bandwidth or prompt
// length on. Plain arithmetic on estimates. Free of LibTorch.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kvalign/evaluate/transfer.h"
#include "kvalign/format/export.h"

namespace kvalign {

enum class FasterWhen { kNever, kAlways, kAbove, kBelow };

/// "always", "never", "above" `value` or "below" it.
struct BreakEven {
  FasterWhen when = FasterWhen::kNever;
  double value = 0;  ///< of kAbove and kBelow
};

/// "never", "always", "above" or "below".
KVALIGN_API std::string name_of(FasterWhen when);

/// The bits a second at which both take as long, in closed form:
///   8 (bytes - bytes of the other) / (compute seconds of the other - compute seconds).
/// Both use the same link, whose latency then plays no part.
KVALIGN_API BreakEven break_even_bandwidth(const TransferEstimate& transfer,
                                           const TransferEstimate& other);

/// A whole number in [shortest, longest] at which `is_faster` is no longer what it is at `shortest`
/// and what it is one below it: the first one where there is no more than one change between
/// neighbouring doublings of `shortest`. Throws std::invalid_argument for a shortest below 1.
KVALIGN_API BreakEven break_even_tokens(int64_t shortest, int64_t longest,
                                        const std::function<bool(int64_t tokens)>& is_faster);

}  // namespace kvalign
