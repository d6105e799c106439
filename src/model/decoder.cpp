// Loading, the checks of a pass, and the memory that gradients flow through.
//
// Shapes:  B batch   T new tokens   C cached tokens   S = C + T   N kv heads   H head dim
#include "kvalign/model/decoder.h"

#include <ATen/ATen.h>

#include "decoder_pass.h"
#include "decoder_state.h"

namespace kvalign {
namespace {

// Joins cached and new tokens; keeps content keys and values of all of them where asked to.
class JoiningMemory : public AttentionMemory {
 public:
  JoiningMemory(const KvCache* cache, const RopeTable& cache_rope, bool keeps_all)
      : cache_(cache), keeps_all_(keeps_all) {
    if (!cache) return;
    cached_keys_BNCH_ = keys_in_float(*cache);
    rotated_keys_BNCH_ = apply_rope(cached_keys_BNCH_, cache_rope);
  }

  int64_t num_tokens() const override { return cache_ ? cache_->num_tokens() : 0; }

  KeysValues append(int64_t layer, const at::Tensor& content_keys_BNTH,
                    const at::Tensor& rotated_keys_BNTH, const at::Tensor& values_BNTH) override {
    if (!cache_) {
      keep(content_keys_BNTH, values_BNTH);
      return {rotated_keys_BNTH, values_BNTH};
    }
    const auto place = static_cast<size_t>(layer);
    const at::Tensor values_BNSH = at::cat({cache_->values(layer).to(at::kFloat), values_BNTH}, 2);
    if (keeps_all_) keep(at::cat({cached_keys_BNCH_[place], content_keys_BNTH}, 2), values_BNSH);
    return {at::cat({rotated_keys_BNCH_[place], rotated_keys_BNTH}, 2), values_BNSH};
  }

  KvCache take(const KvGeometry& geometry) {
    return KvCache(geometry, std::move(keys_BNSH_), std::move(values_BNSH_));
  }

 private:
  void keep(const at::Tensor& keys_BNSH, const at::Tensor& values_BNSH) {
    if (!keeps_all_) return;
    keys_BNSH_.push_back(keys_BNSH.contiguous());
    values_BNSH_.push_back(values_BNSH.contiguous());
  }

  const KvCache* cache_;
  std::vector<at::Tensor> cached_keys_BNCH_, rotated_keys_BNCH_;  // of all layers
  bool keeps_all_;
  std::vector<at::Tensor> keys_BNSH_, values_BNSH_;
};

at::Tensor positions_or(const at::Tensor& positions, int64_t first, int64_t count, int64_t batch,
                        c10::Device device, const char* name) {
  if (!positions.defined()) {
    return at::arange(first, first + count, at::TensorOptions(at::kLong).device(device));
  }
  const bool fits = positions.scalar_type() == at::kLong &&
                    (positions.sizes() == at::IntArrayRef({count}) ||
                     positions.sizes() == at::IntArrayRef({batch, count}));
  TORCH_CHECK(fits, "Decoder::forward: expected int64 ", name, " [", count, "] or [", batch, ", ",
              count, "], got ", positions.scalar_type(), " ", positions.sizes(), ".");
  return positions.to(device);
}

void check_mask(const at::Tensor& mask_BS, int64_t batch, int64_t num_all, c10::Device device) {
  if (!mask_BS.defined()) return;
  TORCH_CHECK(mask_BS.scalar_type() == at::kBool && mask_BS.device() == device &&
                  mask_BS.sizes() == at::IntArrayRef({batch, num_all}),
              "Decoder::forward: expected a bool mask [", batch, ", ", num_all,
              "] (cached and new tokens) on ", device, ", got ", mask_BS.scalar_type(), " ",
              mask_BS.sizes(), " on ", mask_BS.device(), ".");
}

}  // namespace

void check_cache(const KvCache& cache, const KvGeometry& geometry, int64_t batch,
                 c10::Device device) {
  KvGeometry named = cache.geometry();
  named.model = geometry.model;
  TORCH_CHECK(named == geometry, "Decoder: expected a cache of ", geometry.num_layers, " layers, ",
              geometry.num_kv_heads, " kv heads, head dim ", geometry.head_dim,
              " with the rope and windows of ", geometry.model, ", got one of ",
              cache.geometry().num_layers, ", ", cache.geometry().num_kv_heads, ", ",
              cache.geometry().head_dim, " (", cache.geometry().model,
              "). Was it made for another model?");
  TORCH_CHECK(cache.batch_size() == batch, "Decoder: expected a cache with a batch of ", batch,
              ", as the token ids have, got ", cache.batch_size(), ".");
  TORCH_CHECK(cache.keys(0).device() == device, "Decoder: expected a cache on ", device,
              ", got one on ", cache.keys(0).device(), ".");
}

std::vector<at::Tensor> keys_in_float(const KvCache& cache) {
  std::vector<at::Tensor> keys;
  for (int64_t layer = 0; layer < cache.geometry().num_layers; ++layer) {
    keys.push_back(cache.keys(layer).to(at::kFloat));
  }
  return keys;
}

Decoder::Decoder(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

Decoder Decoder::load(const std::filesystem::path& folder, c10::Device device) {
  DecoderConfig config = read_decoder_config(folder);
  DecoderWeights weights = load_decoder_weights(folder, config, device);
  return Decoder(
      std::make_unique<const State>(State{folder, std::move(config), std::move(weights), device}));
}

const DecoderConfig& Decoder::config() const {
  return state_->config;
}
const std::filesystem::path& Decoder::folder() const {
  return state_->folder;
}
c10::Device Decoder::device() const {
  return state_->device;
}
int64_t Decoder::num_parameters() const {
  return state_->weights.num_parameters;
}

at::Tensor Decoder::attention_output_weight(int64_t layer) const {
  TORCH_CHECK(layer >= 0 && layer < geometry().num_layers,
              "Decoder::attention_output_weight: expected a layer of 0 .. ",
              geometry().num_layers - 1, ", got ", layer, ".");
  return state_->weights.layers[static_cast<size_t>(layer)].output.weight.to(at::kFloat);
}

DecoderOutput Decoder::forward(const DecoderInput& input) const {
  const at::Tensor token_ids_BT = check_token_ids(input.token_ids_BT, config(), device());
  const int64_t batch = token_ids_BT.size(0), num_new = token_ids_BT.size(1);
  if (input.cache) check_cache(*input.cache, geometry(), batch, device());
  const int64_t num_cached = input.cache ? input.cache->num_tokens() : 0;
  check_mask(input.mask_BS, batch, num_cached + num_new, device());
  const int64_t num_logits = input.num_logits == -1 ? num_new : input.num_logits;
  TORCH_CHECK(num_logits >= 0 && num_logits <= num_new,
              "Decoder::forward: expected num_logits of -1 (all) to ", num_new, ", got ",
              input.num_logits, ".");
  const RopeOptions& rope = *geometry().rope;
  const auto table = [&](const at::Tensor& positions, int64_t first, int64_t count,
                         const char* name) {
    return make_rope_table(positions_or(positions, first, count, batch, device(), name), rope);
  };
  const RopeTable cache_rope = table(input.cache_positions, 0, num_cached, "cache_positions");
  const PassInput pass{.token_ids_BT = token_ids_BT,
                       .rope = table(input.positions, num_cached, num_new, "positions"),
                       .mask_BS = input.mask_BS,
                       .num_logits = num_logits,
                       .with_attention = input.with_attention};
  JoiningMemory memory(input.cache ? &*input.cache : nullptr, cache_rope, input.with_cache);
  PassOutput output = run_layers(config(), state_->weights, pass, memory);
  DecoderOutput result{.logits_BTV = output.logits_BTV,
                       .cache = std::nullopt,
                       .queries_BQTH = std::move(output.queries_BQTH),
                       .attention_BTE = std::move(output.attention_BTE)};
  if (input.with_cache) result.cache = memory.take(geometry());
  return result;
}

}  // namespace kvalign
