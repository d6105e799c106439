// The arithmetic of a decoder layer, as transformers' modeling_llama.py, modeling_mistral.py,
// modeling_qwen2.py and modeling_qwen3.py have it, in float32.
//
// Shapes:  B batch   T new tokens   C cached tokens   S = C + T   E hidden size
//          Q query heads   N kv heads   G = Q / N   H head dim   V vocabulary
#include "decoder_pass.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "kvalign/ops/frozen_linear.h"

namespace kvalign {
namespace {

at::Tensor linear(const at::Tensor& input, const LinearWeights& weights) {
  return frozen_linear(input, weights.weight, weights.bias);
}

at::Tensor norm(const at::Tensor& input, const at::Tensor& weight, double epsilon) {
  return at::rms_norm(input, weight.sizes(), weight, epsilon);
}

// Which of S tokens each of T new tokens sees: bool [T, S] or [B, 1, T, S]; undefined where plain
// causal attention or no mask at all says the same.
at::Tensor attention_mask(const PassInput& input, int64_t num_cached, int64_t window) {
  const int64_t num_new = input.token_ids_BT.size(1), num_all = num_cached + num_new;
  const bool window_hides = window > 0 && num_all > window;
  if (!input.mask_BS.defined() && !window_hides && (num_cached == 0 || num_new == 1)) return {};
  const auto options = input.token_ids_BT.options();
  const at::Tensor queries_T1 = at::arange(num_cached, num_all, options).unsqueeze(1);
  const at::Tensor keys_S = at::arange(num_all, options);
  at::Tensor visible = keys_S.le(queries_T1);
  if (window_hides) visible = visible.logical_and((queries_T1 - keys_S).lt(window));
  if (input.mask_BS.defined()) {
    visible = visible.logical_and(input.mask_BS.unsqueeze(1).unsqueeze(1));
    // A padding token sees itself: attention to nothing would be NaN, and 0 times NaN is no 0.
    visible = visible.logical_or(keys_S.eq(queries_T1));
  }
  return visible;
}

at::Tensor attend(const at::Tensor& queries_BQTH, const KeysValues& memory,
                  const at::Tensor& mask) {
  const int64_t batch = queries_BQTH.size(0), num_queries = queries_BQTH.size(1);
  const int64_t num_new = queries_BQTH.size(2), head_dim = queries_BQTH.size(3);
  const int64_t num_heads = memory.keys_BNSH.size(1), group = num_queries / num_heads;
  if (num_new == 1 && !mask.defined()) {
    // The queries of a group are as good as tokens of one head: no copy of keys and values.
    const at::Tensor output_BNGH =
        at::scaled_dot_product_attention(queries_BQTH.reshape({batch, num_heads, group, head_dim}),
                                         memory.keys_BNSH, memory.values_BNSH);
    return output_BNGH.reshape({batch, num_queries, 1, head_dim});
  }
  const auto repeat = [&](const at::Tensor& tensor_BNSH) {
    if (group == 1) return tensor_BNSH;
    return tensor_BNSH.unsqueeze(2)
        .expand({batch, num_heads, group, tensor_BNSH.size(2), head_dim})
        .reshape({batch, num_queries, tensor_BNSH.size(2), head_dim});
  };
  const std::optional<at::Tensor> given = mask.defined() ? std::optional(mask) : std::nullopt;
  return at::scaled_dot_product_attention(queries_BQTH, repeat(memory.keys_BNSH),
                                          repeat(memory.values_BNSH), given, /*dropout_p=*/0.0,
                                          /*is_causal=*/!mask.defined());
}

// What attention adds to the residual stream.
at::Tensor attention(const DecoderConfig& config, const LayerWeights& weights,
                     const at::Tensor& hidden_BTE, const PassInput& input, int64_t layer,
                     const at::Tensor& mask, AttentionMemory& memory, PassOutput& output) {
  const int64_t batch = hidden_BTE.size(0), num_new = hidden_BTE.size(1);
  const int64_t head_dim = config.geometry.head_dim;
  const auto heads = [&](const at::Tensor& tensor, const at::Tensor& norm_H) {
    const at::Tensor by_head = tensor.view({batch, num_new, -1, head_dim});
    return (norm_H.defined() ? norm(by_head, norm_H, config.rms_norm_eps) : by_head)
        .transpose(1, 2);
  };
  const at::Tensor queries_BQTH =
      apply_rope(heads(linear(hidden_BTE, weights.query), weights.query_norm_H), input.rope);
  const at::Tensor keys_BNTH = heads(linear(hidden_BTE, weights.key), weights.key_norm_H);
  const at::Tensor values_BNTH = heads(linear(hidden_BTE, weights.value), {});
  const KeysValues all =
      memory.append(layer, keys_BNTH, apply_rope(keys_BNTH, input.rope), values_BNTH);
  const at::Tensor attended_BQTH = attend(queries_BQTH, all, mask);
  const at::Tensor result_BTE =
      linear(attended_BQTH.transpose(1, 2).reshape({batch, num_new, -1}), weights.output);
  if (input.with_attention) {
    output.queries_BQTH.push_back(queries_BQTH);
    output.attention_BTE.push_back(result_BTE);
  }
  return result_BTE;
}

at::Tensor mlp(const LayerWeights& weights, const at::Tensor& hidden_BTE) {
  return linear(at::silu(linear(hidden_BTE, weights.gate)) * linear(hidden_BTE, weights.up),
                weights.down);
}

}  // namespace

PassOutput run_layers(const DecoderConfig& config, const DecoderWeights& weights,
                      const PassInput& input, AttentionMemory& memory) {
  PassOutput output;
  const int64_t num_cached = memory.num_tokens();
  const std::vector<int64_t>& windowed = config.geometry.sliding_window_layers;
  const at::Tensor full_mask = attention_mask(input, num_cached, 0);
  const at::Tensor window_mask =
      windowed.empty() ? full_mask
                       : attention_mask(input, num_cached, config.geometry.sliding_window);
  at::Tensor hidden_BTE =
      weights.embedding_VE.index_select(0, input.token_ids_BT.reshape({-1}))
          .to(at::kFloat)
          .view({input.token_ids_BT.size(0), input.token_ids_BT.size(1), config.hidden_size});
  for (int64_t layer = 0; layer < config.geometry.num_layers; ++layer) {
    const LayerWeights& layer_weights = weights.layers[static_cast<size_t>(layer)];
    const bool has_window = std::binary_search(windowed.begin(), windowed.end(), layer);
    const at::Tensor normed_BTE = norm(hidden_BTE, layer_weights.input_norm_E, config.rms_norm_eps);
    hidden_BTE = hidden_BTE + attention(config, layer_weights, normed_BTE, input, layer,
                                        has_window ? window_mask : full_mask, memory, output);
    hidden_BTE = hidden_BTE +
                 mlp(layer_weights,
                     norm(hidden_BTE, layer_weights.post_attention_norm_E, config.rms_norm_eps));
  }
  if (input.num_logits == 0) return output;
  const int64_t num_new = hidden_BTE.size(1);
  const at::Tensor last_BTE = hidden_BTE.narrow(1, num_new - input.num_logits, input.num_logits);
  output.logits_BTV =
      frozen_linear(norm(last_BTE, weights.final_norm_E, config.rms_norm_eps), weights.head_VE);
  return output;
}

at::Tensor check_token_ids(const at::Tensor& token_ids_BT, const DecoderConfig& config,
                           c10::Device device) {
  TORCH_CHECK(
      token_ids_BT.defined() && token_ids_BT.dim() == 2 && token_ids_BT.numel() > 0 &&
          (token_ids_BT.scalar_type() == at::kInt || token_ids_BT.scalar_type() == at::kLong),
      "Decoder: expected int32 or int64 token ids [batch, tokens], at least one, got ",
      token_ids_BT.defined() ? c10::str(token_ids_BT.scalar_type(), " ", token_ids_BT.sizes())
                             : std::string("nothing"),
      ".");
  const int64_t lowest = token_ids_BT.min().item<int64_t>();
  const int64_t highest = token_ids_BT.max().item<int64_t>();
  TORCH_CHECK(lowest >= 0 && highest < config.vocab_size, "Decoder: expected token ids of 0 .. ",
              config.vocab_size - 1, " (", config.geometry.model, "), got ",
              lowest < 0 ? lowest : highest, ". Were they made by another tokenizer?");
  return token_ids_BT.to(device, at::kLong);
}

}  // namespace kvalign
