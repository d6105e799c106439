// Boundaries that two tokenisers share. See byte_window.h.
#include "kvalign/evaluate/byte_window.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <map>

namespace kvalign {
namespace {

// From a boundary's byte to the number of predicted tokens before it.
std::map<int64_t, int64_t> boundaries(const std::vector<int64_t>& ends, int64_t max_tokens) {
  std::map<int64_t, int64_t> result;
  const auto count = static_cast<int64_t>(ends.size());
  for (int64_t i = 0; i < std::min(count, max_tokens + 1); ++i) {
    const bool inside_character = i + 1 < count && ends[i + 1] == ends[i];
    if (!inside_character) result[ends[i]] = i;
  }
  return result;
}

}  // namespace

ByteWindow common_window(const std::vector<int64_t>& receiver_ends,
                         const std::vector<int64_t>& sender_ends, int64_t max_tokens) {
  TORCH_CHECK(!receiver_ends.empty() && !sender_ends.empty(),
              "common_window: expected the end of the last consumed token of each side, got ",
              receiver_ends.size(), " and ", sender_ends.size(), " ends.");
  const auto receiver = boundaries(receiver_ends, max_tokens);
  const auto sender = boundaries(sender_ends, static_cast<int64_t>(sender_ends.size()));
  ByteWindow window;
  int64_t first = -1;
  for (const auto& [byte, place] : receiver) {
    const auto found = sender.find(byte);
    if (found == sender.end()) continue;
    if (first < 0) {
      first = byte;
      window.receiver.begin = place;
      window.sender.begin = found->second;
    }
    window.receiver.end = place;
    window.sender.end = found->second;
    window.bytes = byte - first;
  }
  return window;
}

}  // namespace kvalign
