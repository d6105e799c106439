// Attention of one layer after two caches. See attention_term.h.
//
// Shapes:  B sequences   I consumed tokens   C cached tokens   S = C + I   Q query heads
//          N kv heads   H head dim   E hidden size
#include "kvalign/loss/attention_term.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "kvalign/ops/rope.h"

namespace kvalign {
namespace {

// Which of S tokens each of the last I sees: bool [I, S].
at::Tensor visible(int64_t num_new, int64_t num_all, int64_t window, at::Device device) {
  const auto options = at::TensorOptions(at::kLong).device(device);
  const at::Tensor distance =
      at::arange(num_all - num_new, num_all, options).unsqueeze(1) - at::arange(num_all, options);
  return distance.ge(0).logical_and(distance.lt(window));
}

// [B, Q, I, H] of queries and keys that are rotated.
at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                  const at::Tensor& mask) {
  const int64_t group = queries.size(1) / keys.size(1);
  return at::scaled_dot_product_attention(queries, keys.repeat_interleave(group, 1),
                                          values.repeat_interleave(group, 1), mask);
}

}  // namespace

AttentionTerm::AttentionTerm(std::shared_ptr<const ReceiverReading> reading)
    : reading_(std::move(reading)) {}

std::string AttentionTerm::name() const {
  return "attention";
}

at::Tensor AttentionTerm::compute_sum(const ReceiverExample& example) const {
  const Decoder& receiver = reading_->receiver();
  const KvGeometry& geometry = receiver.geometry();
  DecoderOutput own;
  {
    const at::NoGradGuard no_gradients;
    own = receiver.forward({.token_ids_BT = example.consumed_BI,
                            .cache = example.true_cache,
                            .num_logits = 0,
                            .with_attention = true});
  }
  const int64_t num_new = example.consumed_BI.size(1), num_all = own.cache->num_tokens();
  const RopeTable rope = make_rope_table(
      at::arange(num_all, at::TensorOptions(at::kLong).device(receiver.device())), *geometry.rope);
  const std::vector<int64_t>& windowed = geometry.sliding_window_layers;
  at::Tensor sum;
  for (int64_t layer = 0; layer < geometry.num_layers; ++layer) {
    const auto i = static_cast<size_t>(layer);
    const bool has_window = std::binary_search(windowed.begin(), windowed.end(), layer);
    const at::Tensor mask = visible(
        num_new, num_all, has_window ? geometry.sliding_window : num_all, receiver.device());
    const auto join = [&](const at::Tensor& projected, const at::Tensor& all) {
      return at::cat({projected, all.narrow(2, num_all - num_new, num_new)}, 2);
    };
    const at::Tensor &keys = own.cache->keys(layer), values = own.cache->values(layer);
    const at::Tensor difference_BQIH =
        attend(own.queries_BQTH[i],
               apply_rope(join(example.projected_cache.keys(layer), keys), rope),
               join(example.projected_cache.values(layer), values), mask) -
        attend(own.queries_BQTH[i], apply_rope(keys, rope), values, mask);
    const at::Tensor difference_BIE = at::linear(difference_BQIH.transpose(1, 2).flatten(2),
                                                 receiver.attention_output_weight(layer));
    const at::Tensor error =
        (difference_BIE.square().sum({1, 2}) / own.attention_BTE[i].square().sum({1, 2})).sum();
    sum = sum.defined() ? sum + error : error;
  }
  return sum / static_cast<double>(geometry.num_layers);
}

at::Tensor AttentionTerm::compute(const LossInput& input) const {
  const int64_t num_sequences = input.sequence_offsets.size(0) - 1;
  at::Tensor sum;
  for (const ReceiverExample& example : reading_->examples(input)) {
    const at::Tensor error = compute_sum(example);
    sum = sum.defined() ? sum + error : error;
  }
  return sum / static_cast<double>(num_sequences);
}

}  // namespace kvalign
