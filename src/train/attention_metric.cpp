// The sums of attention_metric.h, layer by layer.
//
// Shapes:  Q query heads   N kv heads   G = Q / N   T tokens (p query, j key)   H head dim
//          E hidden size   J sampled key tokens
#include "kvalign/train/attention_metric.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "kvalign/ops/rope.h"

namespace kvalign {
namespace {

// Key tokens whose metric is taken: each costs G T outer products, and neighbours differ little.
constexpr int64_t kTokenStride = 4;

// sum over heads g, h of (mean over j of sum_p a_gpj a_hpj) W_g'W_h: heads move the output
// together.
at::Tensor value_metric(const at::Tensor& attention_GpJ, const at::Tensor& weight_GEH) {
  const int64_t group = weight_GEH.size(0), head_dim = weight_GEH.size(2);
  const at::Tensor flat_GX = attention_GpJ.flatten(1);
  const at::Tensor mass_GG = flat_GX.mm(flat_GX.t()) / double(attention_GpJ.size(2));
  const at::Tensor columns_EX = weight_GEH.transpose(0, 1).flatten(1);
  const at::Tensor gram_GHGH =
      columns_EX.t().mm(columns_EX).view({group, head_dim, group, head_dim});
  return (gram_GHGH * mass_GG.view({group, 1, group, 1})).sum(at::IntArrayRef({0, 2}));
}

}  // namespace

AttentionMetric::AttentionMetric(const Decoder& receiver, int64_t skip_first_tokens)
    : receiver_(receiver), skip_(skip_first_tokens) {
  const KvGeometry& geometry = receiver.geometry();
  metric_RNHH_ = at::zeros(
      {2 * geometry.num_layers, geometry.num_kv_heads, geometry.head_dim, geometry.head_dim},
      at::kDouble);
  output_L_ = at::zeros({geometry.num_layers}, at::kDouble);
}

void AttentionMetric::add(const at::Tensor& token_ids_T) {
  const at::NoGradGuard no_gradients;
  const int64_t num_tokens = token_ids_T.size(0);
  TORCH_CHECK(num_tokens > skip_, "AttentionMetric::add: expected more than ", skip_,
              " tokens, got ", num_tokens);
  const DecoderOutput output =
      receiver_.forward({.token_ids_BT = token_ids_T.to(receiver_.device()).unsqueeze(0),
                         .num_logits = 0,
                         .with_attention = true});
  for (int64_t layer = 0; layer < receiver_.geometry().num_layers; ++layer) {
    const auto i = static_cast<size_t>(layer);
    const at::Tensor after_sinks_TE =
        output.attention_BTE[i][0].narrow(0, skip_, num_tokens - skip_);
    output_L_[layer] += after_sinks_TE.square().sum(1).mean().to(at::kCPU, at::kDouble);
    add_layer(layer, output.queries_BQTH[i][0], output.cache->keys(layer)[0],
              output.cache->values(layer)[0]);
  }
  ++num_texts_;
}

void AttentionMetric::add_layer(int64_t layer, const at::Tensor& queries_QTH,
                                const at::Tensor& content_keys_NTH, const at::Tensor& values_NTH) {
  const RopeOptions& rope = *receiver_.geometry().rope;
  const int64_t num_heads = content_keys_NTH.size(0), num_tokens = content_keys_NTH.size(1);
  const int64_t head_dim = content_keys_NTH.size(2), group = queries_QTH.size(0) / num_heads;
  const auto options = at::TensorOptions(at::kLong).device(queries_QTH.device());
  const at::Tensor positions_T = at::arange(num_tokens, options);
  const at::Tensor sampled_J = at::arange(skip_, num_tokens, kTokenStride, options);
  const at::Tensor keys_NTH =
      apply_rope(content_keys_NTH.unsqueeze(0), positions_T, rope).squeeze(0);
  const at::Tensor distance_pj = positions_T.unsqueeze(1) - positions_T.unsqueeze(0);
  const std::vector<int64_t>& windowed = receiver_.geometry().sliding_window_layers;
  const int64_t window = std::binary_search(windowed.begin(), windowed.end(), layer)
                             ? receiver_.geometry().sliding_window
                             : num_tokens;
  const at::Tensor hidden_pj = distance_pj.lt(0).logical_or(distance_pj.ge(window));
  const at::Tensor weight_EQH =
      receiver_.attention_output_weight(layer).unflatten(1, {-1, head_dim});
  for (int64_t head = 0; head < num_heads; ++head) {
    const at::Tensor queries_GTH = queries_QTH.narrow(0, head * group, group);
    const at::Tensor attention_Gpj =
        (at::matmul(queries_GTH, keys_NTH[head].t()) / std::sqrt(double(head_dim)))
            .masked_fill(hidden_pj, -INFINITY)
            .softmax(2);
    const at::Tensor weight_GEH = weight_EQH.narrow(1, head * group, group).transpose(0, 1);
    const at::Tensor gram_GHH = at::bmm(weight_GEH.transpose(1, 2), weight_GEH);
    const at::Tensor squares_GpJ = attention_Gpj.square().index_select(2, sampled_J);
    metric_RNHH_[receiver_.geometry().num_layers + layer][head] +=
        value_metric(attention_Gpj.index_select(2, sampled_J), weight_GEH)
            .to(at::kCPU, at::kDouble);

    // |W (v_j - o_p)|^2 by its three products.
    const at::Tensor outputs_GpH = at::matmul(attention_Gpj, values_NTH[head]);
    const at::Tensor values_GJH =
        values_NTH[head].index_select(0, sampled_J).unsqueeze(0).expand({group, -1, -1});
    const at::Tensor values_gram_GJH = at::bmm(values_GJH, gram_GHH);
    const at::Tensor value_square_GJ = (values_gram_GJH * values_GJH).sum(2);
    const at::Tensor output_square_Gp = (at::bmm(outputs_GpH, gram_GHH) * outputs_GpH).sum(2);
    const at::Tensor distance_GpJ = (value_square_GJ.unsqueeze(1) + output_square_Gp.unsqueeze(2) -
                                     2 * at::bmm(outputs_GpH, values_gram_GJH.transpose(1, 2)))
                                        .clamp_min(0);
    const at::Tensor effect_GpJ = squares_GpJ * distance_GpJ / double(head_dim);
    at::Tensor sum_HH = at::zeros({head_dim, head_dim}, queries_QTH.options());
    for (int64_t sample = 0; sample < sampled_J.size(0); ++sample) {
      const at::Tensor position_T = sampled_J[sample].expand({num_tokens});
      const at::Tensor turned_GpH =
          remove_rope(queries_GTH.unsqueeze(0), position_T, rope).squeeze(0);
      const at::Tensor weighted_GpH = turned_GpH * effect_GpJ.select(2, sample).unsqueeze(2);
      sum_HH.addmm_(weighted_GpH.flatten(0, 1).t(), turned_GpH.flatten(0, 1));
    }
    metric_RNHH_[layer][head] += (sum_HH / double(sampled_J.size(0))).to(at::kCPU, at::kDouble);
  }
}

at::Tensor AttentionMetric::finish() const {
  TORCH_CHECK(num_texts_ > 0, "AttentionMetric::finish: expected at least one text, got none");
  const at::Tensor output_R = at::cat({output_L_, output_L_}).clamp_min(1e-300);
  return (metric_RNHH_ + metric_RNHH_.transpose(2, 3)) / 2 / output_R.view({-1, 1, 1, 1});
}

}  // namespace kvalign
