// Continuation step by step: buffers that grow by doubling, one layer's keys and values each.
//
// Shapes:  B batch   T new tokens   N kv heads   H head dim   A allocated tokens
#include <ATen/ATen.h>

#include <algorithm>

#include "decoder_pass.h"
#include "decoder_state.h"

namespace kvalign {
namespace {

class GrowingMemory : public AttentionMemory {
 public:
  explicit GrowingMemory(int64_t num_layers) : layers_(static_cast<size_t>(num_layers)) {}

  int64_t num_tokens() const override { return num_tokens_; }

  KeysValues append(int64_t layer, const at::Tensor& content_keys_BNTH,
                    const at::Tensor& rotated_keys_BNTH, const at::Tensor& values_BNTH) override {
    Layer& buffers = layers_[static_cast<size_t>(layer)];
    const int64_t num_new = values_BNTH.size(2), num_all = num_tokens_ + num_new;
    const auto put = [&](at::Tensor& buffer_BNAH, const at::Tensor& new_BNTH) {
      if (!buffer_BNAH.defined() || buffer_BNAH.size(2) < num_all) grow(buffer_BNAH, new_BNTH);
      buffer_BNAH.narrow(2, num_tokens_, num_new).copy_(new_BNTH);
      return buffer_BNAH.narrow(2, 0, num_all);
    };
    put(buffers.content_keys, content_keys_BNTH);
    return {put(buffers.rotated_keys, rotated_keys_BNTH), put(buffers.values, values_BNTH)};
  }

  void advance(int64_t num_new) { num_tokens_ += num_new; }

  KvCache cache(const KvGeometry& geometry) const {
    std::vector<at::Tensor> keys, values;
    for (const Layer& layer : layers_) {
      keys.push_back(layer.content_keys.narrow(2, 0, num_tokens_).clone());
      values.push_back(layer.values.narrow(2, 0, num_tokens_).clone());
    }
    return KvCache(geometry, std::move(keys), std::move(values));
  }

 private:
  struct Layer {
    at::Tensor content_keys, rotated_keys, values;  // [B, N, A, H]
  };

  void grow(at::Tensor& buffer_BNAH, const at::Tensor& new_BNTH) const {
    constexpr int64_t kSmallest = 64;
    std::vector<int64_t> shape = new_BNTH.sizes().vec();
    shape[2] = std::max({kSmallest, 2 * num_tokens_, num_tokens_ + shape[2]});
    at::Tensor larger_BNAH = at::empty(shape, new_BNTH.options());
    if (buffer_BNAH.defined()) {
      larger_BNAH.narrow(2, 0, num_tokens_).copy_(buffer_BNAH.narrow(2, 0, num_tokens_));
    }
    buffer_BNAH = larger_BNAH;
  }

  std::vector<Layer> layers_;
  int64_t num_tokens_ = 0;
};

}  // namespace

struct DecoderSession::State {
  const Decoder::State& decoder;
  GrowingMemory memory;
  int64_t batch = 0;  // 0 until something was consumed
};

DecoderSession::DecoderSession(const Decoder& decoder, const std::optional<KvCache>& cache)
    : state_(std::make_unique<State>(
          State{*decoder.state_, GrowingMemory(decoder.geometry().num_layers)})) {
  if (!cache || cache->num_tokens() == 0) return;
  const at::NoGradGuard no_gradients;
  const Decoder::State& model = state_->decoder;
  const KvGeometry& geometry = model.config.geometry;
  state_->batch = cache->batch_size();
  check_cache(*cache, geometry, state_->batch, model.device);
  const RopeTable rope = make_rope_table(
      at::arange(cache->num_tokens(), at::TensorOptions(at::kLong).device(model.device)),
      *geometry.rope);
  const std::vector<at::Tensor> keys = keys_in_float(*cache), rotated = apply_rope(keys, rope);
  for (int64_t layer = 0; layer < geometry.num_layers; ++layer) {
    const auto place = static_cast<size_t>(layer);
    state_->memory.append(layer, keys[place], rotated[place], cache->values(layer).to(at::kFloat));
  }
  state_->memory.advance(cache->num_tokens());
}

DecoderSession::~DecoderSession() = default;

at::Tensor DecoderSession::append(const at::Tensor& token_ids_BT) {
  const at::NoGradGuard no_gradients;
  const Decoder::State& model = state_->decoder;
  const at::Tensor token_ids = check_token_ids(token_ids_BT, model.config, model.device);
  TORCH_CHECK(state_->batch == 0 || token_ids.size(0) == state_->batch,
              "DecoderSession::append: expected a batch of ", state_->batch, ", as before, got ",
              token_ids.size(0), ".");
  state_->batch = token_ids.size(0);
  const int64_t first = num_tokens(), num_new = token_ids.size(1);
  const PassInput input{
      .token_ids_BT = token_ids,
      .rope = make_rope_table(at::arange(first, first + num_new, token_ids.options()),
                              *model.config.geometry.rope),
      .mask_BS = {},
      .num_logits = 1};
  const PassOutput output = run_layers(model.config, model.weights, input, state_->memory);
  state_->memory.advance(num_new);
  return output.logits_BTV.squeeze(1);
}

int64_t DecoderSession::num_tokens() const {
  return state_->memory.num_tokens();
}

KvCache DecoderSession::cache() const {
  TORCH_CHECK(num_tokens() > 0, "DecoderSession::cache: expected tokens, but none were consumed.");
  return state_->memory.cache(state_->decoder.config.geometry);
}

std::vector<int64_t> generate_greedily(const Decoder& decoder, const std::optional<KvCache>& cache,
                                       const at::Tensor& token_ids_T, int64_t num_tokens,
                                       int64_t end_token) {
  TORCH_CHECK(token_ids_T.dim() == 1, "generate_greedily: expected token ids [tokens], got ",
              token_ids_T.sizes(), ".");
  DecoderSession session(decoder, cache);
  std::vector<int64_t> tokens;
  at::Tensor next = token_ids_T.unsqueeze(0);
  while (static_cast<int64_t>(tokens.size()) < num_tokens) {
    tokens.push_back(session.append(next).argmax(-1).item<int64_t>());
    if (tokens.back() == end_token) break;
    next = at::full({1, 1}, tokens.back(), at::kLong);
  }
  return tokens;
}

}  // namespace kvalign
