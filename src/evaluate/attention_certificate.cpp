// Layer by layer, query by query. See attention_certificate.h.
#include "attention_certificate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kvalign/evaluate/percentiles.h"
#include "kvalign/evaluate/stream_certificate.h"
#include "kvalign/ops/rope.h"

namespace kvalign {
namespace {

// RoPE's cosines and sines are float32: what it turns may grow by so much.
constexpr double kRopeRounding = 1 + 0x1p-20;

// What one layer reads of a cache: keys turned to their positions.
struct LayerCache {
  at::Tensor keys_TNH, values_TNH;
};

LayerCache layer_of(const at::Tensor& cache_RTD, int64_t layer, const KvGeometry& geometry) {
  const auto heads = [&](int64_t stream) {
    return cache_RTD[stream].unflatten(1, {geometry.num_kv_heads, geometry.head_dim});
  };
  const at::Tensor positions_T = at::arange(cache_RTD.size(1), at::kLong);
  return {apply_rope(heads(layer).transpose(0, 1).unsqueeze(0), positions_T, *geometry.rope)[0]
              .transpose(0, 1),
          heads(geometry.num_layers + layer)};
}

// Attention of one query [Q, H] over the tokens that it sees, all heads side by side: [Q H].
at::Tensor attend(const at::Tensor& query_QH, const LayerCache& cache, int64_t first,
                  int64_t count) {
  const auto seen = [&](const at::Tensor& values_TNH) {
    const int64_t group = query_QH.size(0) / values_TNH.size(1);
    return values_TNH.narrow(0, first, count).transpose(0, 1).repeat_interleave(group, 0);
  };
  const double scale = 1 / std::sqrt(static_cast<double>(query_QH.size(1)));
  const at::Tensor weights_QT =
      (at::bmm(seen(cache.keys_TNH), query_QH.unsqueeze(2)).squeeze(2) * scale).softmax(1);
  return at::bmm(weights_QT.unsqueeze(1), seen(cache.values_TNH)).flatten();
}

std::vector<KvHead> kv_heads(const LayerCache& from, const LayerCache& to, const CacheMove& move,
                             int64_t layer, int64_t first, int64_t count) {
  const int64_t num_layers = move.radius_RT.size(0) / 2;
  const Eigen::VectorXd key_norms =
      to_vector(move.radius_RT[layer].narrow(0, first, count)) * kRopeRounding;
  const Eigen::VectorXd value_norms =
      to_vector(move.radius_RT[num_layers + layer].narrow(0, first, count));
  std::vector<KvHead> heads;
  for (int64_t head = 0; head < from.keys_TNH.size(1); ++head) {
    const auto seen = [&](const at::Tensor& values_TNH) {
      return to_matrix(values_TNH.select(1, head).narrow(0, first, count));
    };
    heads.push_back({.keys = seen(from.keys_TNH),
                     .values = seen(from.values_TNH),
                     .key_norms = key_norms,
                     .value_norms = value_norms});
    if (move.to_is_known) heads.back().moved_values = seen(to.values_TNH);
  }
  return heads;
}

double norm_of(const at::Tensor& values) {
  return at::linalg_vector_norm(values).item<double>();
}

}  // namespace

ReceiverQueries read_queries(const Decoder& receiver, const at::Tensor& token_ids_T,
                             int64_t num_queries) {
  const at::NoGradGuard no_gradients;
  const DecoderOutput output =
      receiver.forward({.token_ids_BT = token_ids_T.to(receiver.device()).unsqueeze(0),
                        .num_logits = 0,
                        .with_attention = true});
  const int64_t first = token_ids_T.size(0) - num_queries;
  std::vector<at::Tensor> queries;
  for (const at::Tensor& layer_BQTH : output.queries_BQTH) {
    queries.push_back(layer_BQTH[0].narrow(1, first, num_queries).transpose(0, 1));
  }
  return {.cache_RTD = output.cache->streams().to(at::kCPU, at::kDouble),
          .queries_LIQH = at::stack(queries).to(at::kCPU, at::kDouble)};
}

AttentionCertificate::AttentionCertificate(std::shared_ptr<const Decoder> receiver)
    : receiver_(std::move(receiver)) {
  for (int64_t layer = 0; layer < receiver_->geometry().num_layers; ++layer) {
    outputs_.emplace_back(to_matrix(receiver_->attention_output_weight(layer)),
                          receiver_->config().num_attention_heads);
  }
}

void AttentionCertificate::observe(const ReceiverQueries& queries, const CacheMove& move,
                                   Observations& observations) const {
  const KvGeometry& geometry = receiver_->geometry();
  const int64_t num_tokens = move.from_RTD.size(1), num_queries = queries.queries_LIQH.size(1);
  const auto num_layers = static_cast<size_t>(geometry.num_layers);
  for (auto* lists : {&observations.measured, &observations.certified, &observations.c_measured,
                      &observations.c_certified}) {
    lists->resize(num_layers);
  }
  observations.binding.resize(num_layers);
  observations.queries += num_queries;
  const std::vector<int64_t>& windowed = geometry.sliding_window_layers;
  for (int64_t layer = 0; layer < geometry.num_layers; ++layer) {
    const auto l = static_cast<size_t>(layer);
    const LayerCache from = layer_of(move.from_RTD, layer, geometry);
    const LayerCache to = layer_of(move.to_RTD, layer, geometry);
    const at::Tensor weight = receiver_->attention_output_weight(layer).to(at::kCPU, at::kDouble);
    const bool has_window = std::binary_search(windowed.begin(), windowed.end(), layer);
    for (int64_t i = 0; i < num_queries; ++i) {
      const int64_t seen = num_tokens - num_queries + i + 1;
      const int64_t count = has_window ? std::min(seen, geometry.sliding_window) : seen;
      const int64_t first = seen - count;
      const at::Tensor query_QH = queries.queries_LIQH[layer][i];
      const std::vector<HeadBound> heads =
          grouped_query_bounds(to_matrix(query_QH), Eigen::VectorXd::Zero(query_QH.size(0)),
                               kv_heads(from, to, move, layer, first, count));
      std::vector<Certified> bounds;
      for (const HeadBound& head : heads) {
        bounds.push_back(head.bound);
        ++observations.binding[l][static_cast<size_t>(head.binding)];
      }
      const Certified bound = outputs_[l].bound(bounds);
      const at::Tensor output_E = weight.mv(attend(query_QH, from, first, count));
      const Measured change(norm_of(weight.mv(attend(query_QH, to, first, count)) - output_E));
      const Measured output(norm_of(output_E));
      const at::Tensor keys = from.keys_TNH.narrow(0, first, count),
                       values = from.values_TNH.narrow(0, first, count);
      const Measured moved(std::hypot(norm_of(to.keys_TNH.narrow(0, first, count) - keys),
                                      norm_of(to.values_TNH.narrow(0, first, count) - values)) /
                           std::hypot(norm_of(keys), norm_of(values)));
      observations.violations += !holds(change, bound);  // NaN is one
      observations.measured[l].push_back(change.value() / output.value());
      observations.certified[l].push_back(bound.value() / output.value());
      if (moved.value() == 0) continue;  // nothing that could be amplified
      observations.c_measured[l].push_back(measured_amplification(change, output, moved).value());
      observations.c_certified[l].push_back(certified_amplification(bound, output, moved).value());
    }
  }
}

AttentionFigures AttentionCertificate::figures(const Observations& observations) {
  AttentionFigures figures{
      .queries = observations.queries, .left_out = observations.left_out, .layers = {}};
  for (size_t l = 0; l < observations.measured.size(); ++l) {
    const auto& binding = observations.binding[l];
    const auto most = std::max_element(binding.begin(), binding.end()) - binding.begin();
    figures.layers.push_back({.layer = static_cast<int64_t>(l),
                              .measured = percentiles_of(observations.measured[l]),
                              .certified = percentiles_of(observations.certified[l]),
                              .c_measured = percentiles_of(observations.c_measured[l]),
                              .c_certified = percentiles_of(observations.c_certified[l]),
                              .binding = static_cast<char>('A' + most)});
  }
  return figures;
}

}  // namespace kvalign
