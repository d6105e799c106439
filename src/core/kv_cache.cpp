// Shape checks and views of a KV cache.
#include "kvalign/core/kv_cache.h"

#include <ATen/ATen.h>

#include <utility>

namespace kvalign {
namespace {

// `first` is the keys of layer 0: the tensor that all others must agree with.
void check_layer(const KvGeometry& geometry, const at::Tensor& tensor_BNTH, const at::Tensor& first,
                 const char* kind, size_t layer) {
  TORCH_CHECK(tensor_BNTH.defined(), "KvCache: the ", kind, " of layer ", layer, " of ",
              geometry.model, " are undefined");
  TORCH_CHECK(tensor_BNTH.dim() == 4 && tensor_BNTH.size(1) == geometry.num_kv_heads &&
                  tensor_BNTH.size(3) == geometry.head_dim,
              "KvCache: expected the ", kind, " of layer ", layer, " of ", geometry.model,
              " as [batch, ", geometry.num_kv_heads, " kv heads, tokens, head dim ",
              geometry.head_dim, "], got ", tensor_BNTH.sizes(),
              ". Was this cache captured from another model?");
  TORCH_CHECK(tensor_BNTH.is_floating_point(), "KvCache: expected floating-point ", kind,
              " of layer ", layer, " of ", geometry.model, ", got ", tensor_BNTH.scalar_type());
  TORCH_CHECK(tensor_BNTH.sizes() == first.sizes() &&
                  tensor_BNTH.scalar_type() == first.scalar_type() &&
                  tensor_BNTH.device() == first.device(),
              "KvCache: expected the ", kind, " of layer ", layer, " of ", geometry.model,
              " like the keys of layer 0, ", first.sizes(), " ", first.scalar_type(), " on ",
              first.device(), ", got ", tensor_BNTH.sizes(), " ", tensor_BNTH.scalar_type(), " on ",
              tensor_BNTH.device());
}

}  // namespace

KvCache::KvCache(KvGeometry geometry, std::vector<at::Tensor> keys_BNTH,
                 std::vector<at::Tensor> values_BNTH)
    : geometry_(std::move(geometry)),
      keys_BNTH_(std::move(keys_BNTH)),
      values_BNTH_(std::move(values_BNTH)) {
  const auto num_layers = static_cast<size_t>(geometry_.num_layers);
  TORCH_CHECK(
      num_layers > 0 && keys_BNTH_.size() == num_layers && values_BNTH_.size() == num_layers,
      "KvCache: expected keys and values of ", geometry_.num_layers, " layers (", geometry_.model,
      "), got ", keys_BNTH_.size(), " keys and ", values_BNTH_.size(), " values");
  for (size_t layer = 0; layer < num_layers; ++layer) {
    check_layer(geometry_, keys_BNTH_[layer], keys_BNTH_.front(), "keys", layer);
    check_layer(geometry_, values_BNTH_[layer], keys_BNTH_.front(), "values", layer);
  }
}

KvCache KvCache::from_streams(KvGeometry geometry, const at::Tensor& streams) {
  const int64_t num_layers = geometry.num_layers;
  TORCH_CHECK(streams.defined() && (streams.dim() == 3 || streams.dim() == 4) &&
                  streams.size(0) == 2 * num_layers && streams.size(-1) == geometry.width(),
              "KvCache::from_streams: expected [", 2 * num_layers, " streams, tokens, width ",
              geometry.width(), "], or sequences before tokens (", geometry.model, "), got ",
              streams.defined() ? c10::str(streams.sizes()) : "an undefined tensor",
              ". Were these streams made for another model?");
  const at::Tensor streams_SBTD = streams.dim() == 4 ? streams : streams.unsqueeze(1);
  const at::Tensor streams_SBNTH =
      streams_SBTD.unflatten(3, {geometry.num_kv_heads, geometry.head_dim}).transpose(2, 3);
  const std::vector<at::Tensor> all = streams_SBNTH.unbind(0);
  const auto values = all.begin() + num_layers;
  return KvCache(std::move(geometry), {all.begin(), values}, {values, all.end()});
}

at::Tensor KvCache::streams() const {
  TORCH_CHECK(batch_size() == 1, "KvCache::streams: expected a batch of 1, got ", batch_size(),
              ". Streams are packed: make one cache a sequence");
  std::vector<at::Tensor> streams_TD;
  for (const auto* tensors : {&keys_BNTH_, &values_BNTH_}) {
    for (const at::Tensor& tensor_BNTH : *tensors) {
      streams_TD.push_back(tensor_BNTH.select(0, 0).transpose(0, 1).flatten(1));
    }
  }
  return at::stack(streams_TD);
}

int64_t KvCache::batch_size() const {
  return keys_BNTH_.front().size(0);
}

int64_t KvCache::num_tokens() const {
  return keys_BNTH_.front().size(2);
}

const at::Tensor& KvCache::keys(int64_t layer) const {
  TORCH_CHECK(layer >= 0 && layer < geometry_.num_layers,
              "KvCache::keys: expected a layer of 0 .. ", geometry_.num_layers - 1, " (",
              geometry_.model, "), got ", layer);
  return keys_BNTH_[static_cast<size_t>(layer)];
}

const at::Tensor& KvCache::values(int64_t layer) const {
  TORCH_CHECK(layer >= 0 && layer < geometry_.num_layers,
              "KvCache::values: expected a layer of 0 .. ", geometry_.num_layers - 1, " (",
              geometry_.model, "), got ", layer);
  return values_BNTH_[static_cast<size_t>(layer)];
}

KvCache KvCache::clone() const {
  KvCache copy = *this;
  for (auto* tensors : {&copy.keys_BNTH_, &copy.values_BNTH_}) {
    for (at::Tensor& tensor_BNTH : *tensors) tensor_BNTH = tensor_BNTH.clone();
  }
  return copy;
}

KvCache KvCache::slice(int64_t first_token, int64_t num_tokens) const {
  TORCH_CHECK(first_token >= 0 && num_tokens >= 0 && first_token <= this->num_tokens() - num_tokens,
              "KvCache::slice: expected tokens inside 0 .. ", this->num_tokens() - 1, ", got ",
              num_tokens, " tokens from token ", first_token);
  KvCache part = *this;
  for (auto* tensors : {&part.keys_BNTH_, &part.values_BNTH_}) {
    for (at::Tensor& tensor_BNTH : *tensors) {
      tensor_BNTH = tensor_BNTH.narrow(2, first_token, num_tokens);
    }
  }
  return part;
}

}  // namespace kvalign
