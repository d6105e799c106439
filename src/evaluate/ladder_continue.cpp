// Greedy continuations of one held-out text after each kind of cache. See ladder.h.
//
// Shapes:  T tokens of a prefix that a cache covers (n - 1)
#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>

#include "kvalign/evaluate/ladder.h"
#include "kvalign/model/detokeniser.h"
#include "ladder_setup.h"
#include "sender_caches.h"

namespace kvalign {
namespace {

constexpr int64_t kShownPrefixTokens = 24;

class TextContinuer {
 public:
  TextContinuer(const LadderSetup& setup, size_t text, int64_t num_tokens)
      : setup_(setup),
        number_(text),
        text_(setup.texts[text]),
        num_tokens_(num_tokens),
        n_(setup.options.prefix_tokens),
        receiver_words_(Detokeniser::open(setup.receiver.folder())),
        sender_words_(Detokeniser::open(setup.sender.folder())),
        senders_(setup) {}

  Continuations run() {
    const int64_t m = setup_.options.continuation_tokens;
    const int64_t shown = std::min(kShownPrefixTokens, n_);
    const at::Tensor& tokens = text_.receiver_tokens;
    const KvCache own = prefix_cache(setup_.receiver, tokens, n_ - 1);
    const Row& projector = setup_.projectors.front();
    const auto projected = [&](size_t text) { return projected_cache(projector, own, text); };
    return {.sequence = text_.number,
            .prefix_end = receiver_words_.text(whole_numbers(tokens.narrow(0, n_ - shown, shown))),
            .truth =
                receiver_words_.text(whole_numbers(tokens.narrow(0, n_, std::min(m, num_tokens_)))),
            .rows = {{"true cache", receiver_text(own)},
                     {projector.name, receiver_text(projected(number_))},
                     {"wrong document", receiver_text(projected(setup_.other_document(number_)))},
                     {"no cache", receiver_text(std::nullopt)},
                     {"sender alone", sender_text()}}};
  }

 private:
  KvCache prefix_cache(const Decoder& decoder, const at::Tensor& tokens, int64_t count) const {
    return *decoder
                .forward({.token_ids_BT = tokens.narrow(0, 0, count).to(setup_.device).unsqueeze(0),
                          .num_logits = 0})
                .cache;
  }

  // The sinks are the receiver's own.
  KvCache projected_cache(const Row& projector, const KvCache& own, size_t text) {
    const int64_t sinks = setup_.options.sinks;
    at::Tensor streams_RTD =
        projector.project(arrived(projector, senders_.features(text), sinks)).clone();
    streams_RTD.narrow(1, 0, sinks).copy_(own.streams().narrow(1, 0, sinks));
    return KvCache::from_streams(own.geometry(), streams_RTD);
  }

  std::string receiver_text(const std::optional<KvCache>& cache) const {
    return receiver_words_.text(generate_greedily(
        setup_.receiver, cache, text_.receiver_tokens.narrow(0, n_ - 1, 1), num_tokens_));
  }

  std::string sender_text() const {
    const int64_t last = text_.sender_prefix - 1;
    const KvCache own = prefix_cache(setup_.sender, text_.sender_tokens, last);
    return sender_words_.text(
        generate_greedily(setup_.sender, own, text_.sender_tokens.narrow(0, last, 1), num_tokens_));
  }

  const LadderSetup& setup_;
  size_t number_;
  const LadderText& text_;
  int64_t num_tokens_, n_;
  Detokeniser receiver_words_, sender_words_;
  SenderCaches senders_;
};

}  // namespace

Continuations Ladder::continue_greedily(int64_t sequence, int64_t num_tokens) const {
  const auto count = static_cast<int64_t>(setup_->texts.size());
  if (sequence < 0 || sequence >= count) {
    throw std::invalid_argument("continue: expected a held-out sequence from 0 to " +
                                std::to_string(count - 1) + ", got " + std::to_string(sequence) +
                                ".");
  }
  const at::NoGradGuard no_gradients;
  return TextContinuer(*setup_, static_cast<size_t>(sequence), num_tokens).run();
}

}  // namespace kvalign
