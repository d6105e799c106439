// What can go wrong between a model's cache and the one that is injected, each as a transport. The
// identity gate and the ladder must report every one of them.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <string>
#include <vector>

#include "kvalign/evaluate/identity_gate.h"
#include "kvalign/ops/rope.h"

namespace kvalign::testing {

struct PlantedFault {
  std::string name;
  CacheTransport transport;
  std::string first_to_deviate;  ///< what the gate must say
};

using ChangeKeys = std::function<at::Tensor(const at::Tensor& keys_BNTH)>;

/// All layers' keys and values, changed together.
inline KvCache changed(const KvCache& cache,
                       const std::function<void(int64_t layer, at::Tensor& keys_BNTH,
                                                at::Tensor& values_BNTH)>& change) {
  std::vector<at::Tensor> keys, values;
  for (int64_t layer = 0; layer < cache.geometry().num_layers; ++layer) {
    keys.push_back(cache.keys(layer).clone());
    values.push_back(cache.values(layer).clone());
    change(layer, keys.back(), values.back());
  }
  return KvCache(cache.geometry(), keys, values);
}

/// Keys that the model rotated and a capture turned back with `wrong` options, or at positions
/// `shift` too high.
inline CacheTransport turned_back_wrongly(const std::function<void(RopeOptions&)>& spoil,
                                          int64_t shift = 0) {
  return [=](const KvCache& cache) {
    const RopeOptions right = cache.geometry().rope.value();
    RopeOptions wrong = right;
    spoil(wrong);
    const at::Tensor positions_T = at::arange(cache.num_tokens(), at::kLong);
    return changed(cache, [&](int64_t, at::Tensor& keys_BNTH, at::Tensor&) {
      keys_BNTH =
          remove_rope(apply_rope(keys_BNTH, positions_T, right), positions_T + shift, wrong);
    });
  };
}

/// `other`: a cache of the same shape, of another document.
inline std::vector<PlantedFault> planted_faults(const KvCache& other) {
  const auto every_layer = [](auto change) {
    return [=](const KvCache& cache) {
      return changed(cache,
                     [&](int64_t, at::Tensor& keys, at::Tensor& values) { change(keys, values); });
    };
  };
  return {
      {"wrong pairing",
       turned_back_wrongly([](RopeOptions& rope) { rope.pairing = RopePairing::kInterleaved; }),
       "the keys of layer 0"},
      {"theta times 10", turned_back_wrongly([](RopeOptions& rope) { rope.theta *= 10; }),
       "the keys of layer 0"},
      {"positions off by one", turned_back_wrongly([](RopeOptions&) {}, 1), "the keys of layer 0"},
      {"keys and values swapped",
       every_layer([](at::Tensor& keys, at::Tensor& values) { std::swap(keys, values); }),
       "the keys of layer 0"},
      {"heads permuted", every_layer([](at::Tensor& keys, at::Tensor& values) {
         keys = keys.flip(1);
         values = values.flip(1);
       }),
       "the keys of layer 0"},
      {"values of heads permuted",
       every_layer([](at::Tensor&, at::Tensor& values) { values = values.flip(1); }),
       "the values of layer 0"},
      {"one layer zeroed",
       [](const KvCache& cache) {
         return changed(cache, [](int64_t layer, at::Tensor& keys, at::Tensor& values) {
           if (layer != 1) return;
           keys.zero_();
           values.zero_();
         });
       },
       "the keys of layer 1"},
      {"another document's cache",
       [other](const KvCache& cache) { return other.slice(0, cache.num_tokens()); },
       "the keys of layer 0"},
      {"truncated by one token",
       [](const KvCache& cache) { return cache.slice(0, cache.num_tokens() - 1); },
       "the number of cached tokens"},
      {"keys stored rotated",
       [](const KvCache& cache) {
         const at::Tensor positions_T = at::arange(cache.num_tokens(), at::kLong);
         return changed(cache, [&](int64_t, at::Tensor& keys, at::Tensor&) {
           keys = apply_rope(keys, positions_T, cache.geometry().rope.value());
         });
       },
       "the keys of layer 0"},
  };
}

}  // namespace kvalign::testing
