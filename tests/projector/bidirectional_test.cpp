// Kind bidirectional: the first design's class as Python torch runs it, the corrected weights,
// sequences that do not see each other, folding, and what is refused.
#include <ATen/ATen.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "kvalign/projector/kv_projector.h"
#include "tests/support/flat_geometry.h"
#include "tests/support/golden_fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::flat;
using testing::golden_double;
using testing::golden_fill;

constexpr int64_t kSmall = 4, kLarge = 6;
const char* const kWeights[] = {"sum_one", "mean_one"};

KvGeometry model(const std::string& name, int64_t num_layers, int64_t head_dim) {
  return {.model = name,
          .num_layers = num_layers,
          .num_kv_heads = 2,
          .head_dim = head_dim,
          .rope = RopeOptions{.rotary_dim = head_dim}};
}

KvProjector bidirectional(const std::string& weights, const KvGeometry& sender,
                          const KvGeometry& receiver) {
  return KvProjector({.kind = "bidirectional",
                      .compress_weights = weights,
                      .layer_map = {.kind = "all", .features = "both"}},
                     sender, receiver);
}

// Every weight drawn anew: attention and biases start at 0.
void draw_weights(const KvProjector& projector) {
  const at::NoGradGuard no_gradients;
  uint64_t seed = 40;
  for (at::Tensor& parameter : projector.projector().parameters()) {
    parameter.copy_(golden_fill(parameter.sizes(), ++seed, 0.5));
  }
}

// Sequences of 3, 5 and 1 tokens.
at::Tensor ragged_offsets() {
  return at::tensor({int64_t{0}, int64_t{3}, int64_t{8}, int64_t{9}});
}

TEST(Bidirectional, BothWaysAreThoseOfTheFirstDesign) {
  std::ifstream file(KVALIGN_SOURCE_DIR "/tests/golden/bidirectional.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  for (const char* weights : kWeights) {
    const KvProjector projector = bidirectional(weights, flat(kSmall), flat(kLarge));
    projector.projector().to(at::kDouble);
    auto parameters = projector.projector().named_parameters();
    uint64_t seed = 0;
    for (const char* name : {"expand.weight", "expand.bias", "compress.weight", "compress.bias",
                             "compress.attention"}) {
      const at::NoGradGuard no_gradients;
      parameters[name].copy_(golden_double(parameters[name].sizes(), ++seed));
    }
    const auto expect_golden = [&](const char* name, const at::Tensor& got) {
      const at::Tensor expected =
          at::tensor(golden[weights][name].get<std::vector<double>>(), at::kDouble);
      EXPECT_LE((got.flatten() - expected).abs().max().item<double>(), 1e-12)
          << weights << " " << name;
    };
    at::Tensor cache = golden_double({1, 9, kLarge}, 7, 2.0).requires_grad_();
    const at::Tensor compressed = projector.compress(cache, ragged_offsets());
    expect_golden("compressed", compressed);
    (compressed * golden_double({1, 9, kSmall}, 8)).sum().backward();
    expect_golden("cache_gradient", cache.grad());
    expect_golden("query_gradient", parameters["compress.weight"].grad());
    expect_golden("bias_gradient", parameters["compress.bias"].grad());
    expect_golden("attention_gradient", parameters["compress.attention"].grad());
    expect_golden("expanded", projector.project(golden_double({1, 9, kSmall}, 9, 2.0)));
  }
}

TEST(Bidirectional, GradientsOfManyStreamsMatchFiniteDifferences) {
  for (const char* weights : kWeights) {
    const KvProjector projector =
        bidirectional(weights, model("small", 1, 2), model("large", 2, 1));
    draw_weights(projector);
    projector.projector().to(at::kDouble);
    at::Tensor cache = golden_double({4, 9, 2}, 1).requires_grad_();
    const at::Tensor probe = golden_double({2, 9, 4}, 2);
    const auto scalar = [&] { return (projector.compress(cache, ragged_offsets()) * probe).sum(); };
    testing::expect_gradient_matches(scalar, cache);
    for (const auto& parameter : projector.receiver_part()->named_parameters()) {
      SCOPED_TRACE(parameter.key());
      testing::expect_gradient_matches(scalar, parameter.value());
    }
  }
}

TEST(Bidirectional, SequencesOfABatchDoNotSeeEachOther) {
  const KvProjector projector = bidirectional("mean_one", flat(kSmall), flat(kLarge));
  draw_weights(projector);
  const at::NoGradGuard no_gradients;
  at::Tensor cache = golden_fill({1, 9, kLarge}, 3, 1.0);
  const at::Tensor before = projector.compress(cache, ragged_offsets());
  for (const auto& [begin, length] : {std::pair{0, 3}, std::pair{3, 5}, std::pair{8, 1}}) {
    EXPECT_TRUE(at::allclose(projector.compress(cache.narrow(1, begin, length)),
                             before.narrow(1, begin, length), 1e-5, 1e-6));
  }
  cache.narrow(1, 3, 5).add_(100);
  const at::Tensor after = projector.compress(cache, ragged_offsets());
  EXPECT_TRUE(after.narrow(1, 0, 3).equal(before.narrow(1, 0, 3)));
  EXPECT_TRUE(after.narrow(1, 8, 1).equal(before.narrow(1, 8, 1)));
}

// Attention starts at 0: a token's weight is 1, or one over the number of tokens.
TEST(Bidirectional, OnlyWeightsOfMeanOneKeepTheScaleOfTokens) {
  const at::NoGradGuard no_gradients;
  for (const char* weights : kWeights) {
    const KvProjector projector = bidirectional(weights, flat(kLarge), flat(kLarge));
    projector.projector().named_parameters()["compress.weight"].copy_(at::eye(kLarge));
    for (const int64_t num_tokens : {8, 64}) {
      const at::Tensor cache = golden_fill({1, num_tokens, kLarge}, 5, 1.0);
      const at::Tensor expected =
          weights == kWeights[0] ? cache / static_cast<double>(num_tokens) : cache;
      EXPECT_TRUE(at::allclose(projector.compress(cache), expected, 1e-5, 1e-7)) << weights;
    }
  }
}

// What is trained on standardised features is, folded, the same function of raw ones.
TEST(Bidirectional, FoldingAndItsInverseKeepTheFunction) {
  const auto statistics_of = [](const ProjectorShape& shape) {
    return FeatureStatistics{golden_fill({shape.num_groups, shape.num_features}, 1, 4.0),
                             golden_fill({shape.num_groups, shape.num_features}, 2, 0.5) + 1.0,
                             golden_fill({shape.num_streams, shape.width}, 3, 2.0),
                             golden_fill({shape.num_streams, shape.width}, 4, 0.5) + 1.0};
  };
  for (const char* features : {"own", "both"}) {
    for (const char* weights : kWeights) {
      const KvProjector projector({.kind = "bidirectional",
                                   .compress_weights = weights,
                                   .layer_map = {.kind = "nearest_depth", .features = features}},
                                  model("small", 2, 3), model("large", 3, 4));
      draw_weights(projector);
      const at::NoGradGuard no_gradients;
      Projector& part = *projector.receiver_part();
      part.set_standardisation(statistics_of(part.shape()));
      const at::Tensor cache = golden_fill({6, 9, 8}, 6, 3.0);
      const auto run = [&] { return projector.compress(cache, ragged_offsets()); };
      const at::Tensor expected = run();
      const double tolerance = 1e-5 * expected.abs().max().item<double>();
      part.fold_standardisation();
      EXPECT_LE((run() - expected).abs().max().item<double>(), tolerance);
      part.standardise_fitted(statistics_of(part.shape()));
      EXPECT_LE((run() - expected).abs().max().item<double>(), tolerance);
    }
  }
}

TEST(Bidirectional, CompressesACacheForTheSender) {
  const KvGeometry sender = model("small", 2, 3), receiver = model("large", 3, 4);
  const KvProjector projector = bidirectional("mean_one", sender, receiver);
  const at::Tensor streams = golden_fill({6, 5, 8}, 1, 1.0);
  const KvCache back = projector.compress(KvCache::from_streams(receiver, streams));
  EXPECT_EQ(back.geometry(), sender);
  EXPECT_TRUE(at::allclose(back.streams(), projector.compress(streams).detach()));
  EXPECT_THROWS_WITH(
      projector.compress(KvCache::from_streams(sender, golden_fill({4, 5, 6}, 1, 1))),
      "KvProjector::compress: expected a cache of 'large' with num_layers 3, got 2");
}

TEST(Bidirectional, CountsTheWeightsOfBothWays) {
  // 512 x 4096 + 4096 there, 4096 x 512 + 512 and an attention of 4096 back.
  EXPECT_EQ(bidirectional("mean_one", flat(512), flat(4096)).projector().num_parameters(),
            512 * 4096 + 4096 + 4096 * 512 + 512 + 4096);
}

TEST(Bidirectional, SaysWhatItExpects) {
  EXPECT_THROWS_WITH(bidirectional("max", flat(4), flat(6)),
                     "expected compress_weights mean_one or sum_one, got 'max'");
  EXPECT_THROWS_WITH(KvProjector({.kind = "bidirectional", .norm = "layer"}, flat(4), flat(6)),
                     "bidirectional: expected norm none or auto, got layer");
  EXPECT_THROWS_WITH(
      KvProjector({.kind = "bidirectional", .layer_map = {.kind = "top_k", .layers = {0, 0}}},
                  model("small", 1, 2), model("large", 2, 2)),
      "Use nearest_depth, last_aligned or all");
  const KvProjector linear({}, flat(4), flat(6));
  EXPECT_EQ(linear.receiver_part(), nullptr);
  EXPECT_THROWS_WITH(linear.compress(at::zeros({1, 2, 6})),
                     "expected kind bidirectional, got linear_residual, which has no way back");

  const KvProjector projector = bidirectional("mean_one", flat(4), flat(6));
  const at::Tensor cache = at::zeros({1, 9, 6});
  const auto compress = [&](std::vector<int64_t> offsets) {
    return projector.compress(cache, at::tensor(offsets));
  };
  EXPECT_THROWS_WITH(compress({0, 8}), "from 0 to 9 tokens, got 0 to 8");
  EXPECT_THROWS_WITH(compress({0, 4, 4, 9}), "sequence 1 has 0 tokens; expected at least 1");
  EXPECT_THROWS_WITH(projector.compress(cache, at::zeros({2})), "expected sequence_offsets int64");
  EXPECT_THROWS_WITH(projector.compress(at::zeros({1, 9, 5})), "expected a sender cache of shape");
}

}  // namespace
}  // namespace kvalign
