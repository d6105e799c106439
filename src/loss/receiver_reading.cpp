// Cuts sequences. See receiver_reading.h.
#include "kvalign/loss/receiver_reading.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <utility>

#include "kvalign/core/random.h"

namespace kvalign {

ReceiverReading::ReceiverReading(std::shared_ptr<const Decoder> receiver,
                                 std::function<ReceiverText(int64_t sequence)> text, int64_t sinks,
                                 int64_t continuation_tokens, int64_t reread)
    : receiver_(std::move(receiver)),
      text_(std::move(text)),
      sinks_(sinks),
      continuation_tokens_(continuation_tokens),
      reread_(reread) {}

std::vector<ReceiverExample> ReceiverReading::examples(const LossInput& input) const {
  const int64_t num_sequences = input.sequence_offsets.size(0) - 1;
  TORCH_CHECK(static_cast<int64_t>(input.sequences.size()) == num_sequences,
              "ReceiverReading: expected a batch that names its ", num_sequences,
              " sequences, got ", input.sequences.size(), " names");
  const auto* offsets = input.sequence_offsets.const_data_ptr<int64_t>();
  std::map<int64_t, std::vector<int64_t>> places_by_length;
  for (int64_t place = 0; place < num_sequences; ++place) {
    places_by_length[sinks_ + offsets[place + 1] - offsets[place]].push_back(place);
  }
  std::vector<ReceiverExample> examples;
  for (const auto& [num_tokens, places] : places_by_length) {
    examples.push_back(example(input, places, num_tokens));
  }
  return examples;
}

int64_t ReceiverReading::num_cached(const LossInput& input, int64_t num_tokens) const {
  const int64_t latest = num_tokens - continuation_tokens_ - reread_;
  if (!input.step) return latest;
  const int64_t earliest = std::max(sinks_ + 1, latest / 2);
  const auto seed = static_cast<uint64_t>(num_tokens), step = static_cast<uint64_t>(*input.step);
  return earliest + Random(derive_seed(seed, step)).below(latest - earliest + 1);
}

ReceiverExample ReceiverReading::example(const LossInput& input, const std::vector<int64_t>& places,
                                         int64_t num_tokens) const {
  const int64_t consumed = continuation_tokens_ + reread_;
  TORCH_CHECK(num_tokens - consumed > sinks_, "ReceiverReading: sequence ",
              input.sequences[static_cast<size_t>(places.front())], " has ", num_tokens,
              " tokens; after ", sinks_, " sinks and before ", reread_, " re-read and ",
              continuation_tokens_,
              " predicted ones none is left to project. Lower loss.continuation_tokens or "
              "loss.reread");
  const int64_t cached = num_cached(input, num_tokens);
  const auto* offsets = input.sequence_offsets.const_data_ptr<int64_t>();
  std::vector<at::Tensor> true_RCD, projected_RCD, consumed_I;
  for (const int64_t place : places) {
    const ReceiverText text = text_(input.sequences[static_cast<size_t>(place)]);
    true_RCD.push_back(text.cache_RTD.narrow(1, 0, cached).to(input.predicted_RTD.device()));
    projected_RCD.push_back(
        at::cat({true_RCD.back().narrow(1, 0, sinks_),
                 input.predicted_RTD.narrow(1, offsets[place], cached - sinks_)},
                1));
    consumed_I.push_back(text.token_ids_T.narrow(0, cached, consumed));
  }
  return {
      .true_cache = KvCache::from_streams(receiver_->geometry(), at::stack(true_RCD, 1)),
      .projected_cache = KvCache::from_streams(receiver_->geometry(), at::stack(projected_RCD, 1)),
      .consumed_BI = at::stack(consumed_I).to(receiver_->device()),
      .num_predicted = continuation_tokens_};
}

}  // namespace kvalign
