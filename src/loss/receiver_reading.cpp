// Cuts sequences. See receiver_reading.h.
#include "kvalign/loss/receiver_reading.h"

#include <ATen/ATen.h>

#include <utility>

namespace kvalign {

ReceiverReading::ReceiverReading(std::shared_ptr<const Decoder> receiver,
                                 std::function<ReceiverText(int64_t sequence)> text, int64_t sinks,
                                 int64_t continuation_tokens, int64_t reread)
    : receiver_(std::move(receiver)),
      text_(std::move(text)),
      sinks_(sinks),
      continuation_tokens_(continuation_tokens),
      reread_(reread) {}

ReceiverExample ReceiverReading::example(const LossInput& input, int64_t place) const {
  const auto number = static_cast<size_t>(place);
  TORCH_CHECK(number < input.sequences.size(), "ReceiverReading: expected a batch that names its ",
              input.sequence_offsets.size(0) - 1, " sequences, got ", input.sequences.size(),
              " names");
  const auto* offsets = input.sequence_offsets.const_data_ptr<int64_t>();
  const int64_t first = offsets[place], projected = offsets[place + 1] - first;
  const int64_t num_tokens = sinks_ + projected, consumed = continuation_tokens_ + reread_;
  const int64_t cached = num_tokens - consumed;
  TORCH_CHECK(cached > sinks_, "ReceiverReading: sequence ", input.sequences[number], " has ",
              num_tokens, " tokens; after ", sinks_, " sinks and before ", reread_, " re-read and ",
              continuation_tokens_,
              " predicted ones none is left to project. Lower loss.continuation_tokens or "
              "loss.reread");
  const ReceiverText text = text_(input.sequences[number]);
  const at::Tensor true_RCD = text.cache_RTD.narrow(1, 0, cached).to(input.predicted_RTD.device());
  const at::Tensor projected_RCD = at::cat(
      {true_RCD.narrow(1, 0, sinks_), input.predicted_RTD.narrow(1, first, cached - sinks_)}, 1);
  return {.true_cache = KvCache::from_streams(receiver_->geometry(), true_RCD),
          .projected_cache = KvCache::from_streams(receiver_->geometry(), projected_RCD),
          .consumed_1I =
              text.token_ids_T.narrow(0, cached, consumed).to(receiver_->device()).unsqueeze(0),
          .num_predicted = continuation_tokens_};
}

}  // namespace kvalign
