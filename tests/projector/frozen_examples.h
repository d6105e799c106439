// Projectors to freeze, with random weights and statistics, and the error of what runs in float32.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "kvalign/core/random.h"
#include "kvalign/projector/kv_projector.h"
#include "tests/support/flat_geometry.h"

namespace kvalign::testing {

struct FrozenExample {
  std::string name;
  ProjectorOptions options;
  KvGeometry sender, receiver;
};

// All streams read one group of features, keys and values a group each, and every stream its own;
// and a flat pair.
inline std::vector<FrozenExample> frozen_layouts(const ProjectorOptions& options) {
  const auto layered = [](const char* model, int64_t layers, int64_t heads, int64_t head_dim) {
    return KvGeometry{.model = model,
                      .num_layers = layers,
                      .num_kv_heads = heads,
                      .head_dim = head_dim,
                      .rope = RopeOptions{.rotary_dim = head_dim},
                      .sliding_window_layers = {}};
  };
  const KvGeometry small = layered("small", 3, 1, 6), large = layered("large", 2, 3, 12);
  const auto with = [&](const char* map, const char* features) {
    ProjectorOptions changed = options;
    changed.layer_map = {.kind = map, .features = features};
    return changed;
  };
  return {{"flat", options, flat(19), flat(41)},
          {"one group", with("all", "both"), small, large},
          {"two groups", with("all", "own"), small, large},
          {"own groups", with("nearest_depth", "own"), small, large},
          {"own groups of both", with("nearest_depth", "both"), small, large}};
}

// Every weight from N(0, 1/4) but gammas around 1; statistics where the options ask for them.
inline KvProjector make_example(const FrozenExample& example, bool with_statistics) {
  KvProjector made(example.options, example.sender, example.receiver);
  const at::NoGradGuard no_gradients;
  at::Generator generator = make_generator(7);
  for (const auto& item : made.projector().named_parameters()) {
    item.value().normal_(0, 0.5, generator);
    if (item.key() == "norm.gamma") item.value().add_(1);
  }
  const ProjectorShape& shape = made.projector().shape();
  const auto random = [&](int64_t rows, int64_t columns) {
    return at::randn({rows, columns}, generator);
  };
  if (with_statistics) {
    made.projector().set_standardisation(
        {.feature_mean_GF = random(shape.num_groups, shape.num_features),
         .feature_scale_GF = random(shape.num_groups, shape.num_features).abs() + 0.5,
         .output_mean_RD = random(shape.num_streams, shape.width),
         .output_scale_RD = random(shape.num_streams, shape.width).abs() + 0.5});
  }
  return made;
}

inline at::Tensor sender_streams(const KvProjector& projector, int64_t tokens) {
  return at::randn({num_streams(projector.sender()), tokens, projector.sender().width()},
                   make_generator(11));
}

// What the projector gives in float64. Its module is float32 again afterwards.
inline at::Tensor project_in_float64(const KvProjector& projector, const at::Tensor& sender_STd) {
  const at::NoGradGuard no_gradients;
  projector.projector().to(at::kDouble);
  const at::Tensor expected_RTD = projector.project(sender_STd.to(at::kDouble));
  projector.projector().to(at::kFloat);
  return expected_RTD;
}

// Of the whole, in the Frobenius norm.
inline double relative_error(const at::Tensor& got, const at::Tensor& expected) {
  return ((got.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

}  // namespace kvalign::testing
