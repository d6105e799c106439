// Cuts a sequence where the receiver's prefix ends. See ladder_text.h.
#include "ladder_text.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace kvalign {
namespace {

// How many tokens end at or before `byte`.
int64_t tokens_until(const std::vector<int64_t>& ends, int64_t byte) {
  return std::upper_bound(ends.begin(), ends.end(), byte) - ends.begin();
}

// With one tokenizer the sides are token for token the same.
void cut_one_tokenizer(LadderText& text, const LadderOptions& options) {
  const int64_t n = options.prefix_tokens, m = options.continuation_tokens;
  text.sender_tokens = text.receiver_tokens;
  text.sender_prefix = n;
  const auto window = [&](int64_t count) {
    return ByteWindow{
        .receiver = {0, count}, .sender = {0, count}, .bytes = text.text_bytes(n, n + count)};
  };
  text.first = window(std::min(m, kFirstTokens));
  text.all = window(m);
}

// False where the sender has too few tokens to cache, consume and predict one.
bool cut_two_tokenizers(LadderText& text, const TokenSequence& sender,
                        const at::Tensor& receiver_ends, const LadderOptions& options) {
  const int64_t n = options.prefix_tokens, m = options.continuation_tokens;
  const std::vector<int64_t> ends = whole_numbers(sender.ends);
  text.sender_prefix = tokens_until(ends, text.receiver_ends[n - 1]);
  const int64_t total = tokens_until(ends, text.receiver_ends[n + m - 1]);
  if (text.sender_prefix < 2 || total <= text.sender_prefix) return false;
  text.sender_tokens = sender.token_ids.narrow(0, 0, total).to(at::kLong);
  text.alignment_T = align_tokens(sender.ends, receiver_ends).narrow(0, 0, n - 1);
  const std::vector<int64_t> receiver_from{text.receiver_ends.begin() + n - 1,
                                           text.receiver_ends.end()};
  const std::vector<int64_t> sender_from{ends.begin() + text.sender_prefix - 1,
                                         ends.begin() + total};
  text.first = common_window(receiver_from, sender_from, kFirstTokens);
  text.all = common_window(receiver_from, sender_from, m);
  return true;
}

}  // namespace

std::vector<int64_t> whole_numbers(const at::Tensor& values_T) {
  const at::Tensor wide = values_T.to(at::kLong).contiguous();
  const auto* data = wide.const_data_ptr<int64_t>();
  return {data, data + wide.numel()};
}

int64_t LadderText::text_bytes(int64_t begin, int64_t end) const {
  const auto before = [this](int64_t count) { return count == 0 ? 0 : receiver_ends[count - 1]; };
  return before(end) - before(begin);
}

std::optional<LadderText> cut_text(const TokenFile& tokens, int64_t sequence,
                                   const LadderOptions& options) {
  const TokenSequence receiver = tokens.receiver.sequence(sequence);
  const int64_t needed = options.prefix_tokens + options.continuation_tokens;
  if (receiver.token_ids.size(0) < needed) return std::nullopt;
  LadderText text{.number = sequence,
                  .document = tokens.documents[sequence],
                  .receiver_tokens = receiver.token_ids.narrow(0, 0, needed).to(at::kLong),
                  .receiver_ends = whole_numbers(receiver.ends.narrow(0, 0, needed))};
  if (tokens.one_tokenizer) {
    cut_one_tokenizer(text, options);
    return text;
  }
  const bool fits =
      cut_two_tokenizers(text, tokens.sender.sequence(sequence), receiver.ends, options);
  return fits ? std::optional(std::move(text)) : std::nullopt;
}

}  // namespace kvalign
