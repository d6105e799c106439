// Which predicted tokens of two tokenisers cover the same bytes: scores of models that cut a text
// differently are compared there, in nats a byte. Arithmetic on token ends only.
#pragma once

#include <cstdint>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

/// Places [begin, end) among predicted tokens.
struct TokenRange {
  int64_t begin = 0, end = 0;
  bool operator==(const TokenRange&) const = default;
};

/// The same bytes as each side has them; empty ranges and 0 bytes where no two boundaries agree.
struct ByteWindow {
  TokenRange receiver = {}, sender = {};
  int64_t bytes = 0;
  bool operator==(const ByteWindow&) const = default;
};

/// Ends (UTF-8 bytes from the start of the text, never decreasing) of each side's tokens from the
/// last consumed to the last predicted one: entry 0 is where the first predicted token begins. The
/// window is the longest one that begins and ends where both sides have a boundary; inside a
/// character, where several tokens end at once, only the last of them is one. Within the receiver's
/// first `max_tokens` predicted tokens. Throws c10::Error for a side without entries.
KVALIGN_API ByteWindow common_window(const std::vector<int64_t>& receiver_ends,
                                     const std::vector<int64_t>& sender_ends, int64_t max_tokens);

}  // namespace kvalign
