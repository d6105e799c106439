// Kind autoencoder: its two ways through the decoder, what trains what, folding, and what is
// refused.
#include <ATen/ATen.h>

#include "kvalign/projector/kv_projector.h"
#include "tests/support/flat_geometry.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::flat;
using testing::golden_fill;

KvProjector autoencoder(int64_t rank = 3) {
  const auto model = [](const std::string& name, int64_t num_layers) {
    return KvGeometry{.model = name,
                      .num_layers = num_layers,
                      .num_kv_heads = 1,
                      .head_dim = 4,
                      .rope = RopeOptions{.rotary_dim = 4}};
  };
  return KvProjector(
      {.kind = "autoencoder", .rank = rank, .layer_map = {.kind = "all", .features = "both"}},
      model("small", 1), model("large", 2));
}

at::Tensor weight(const KvProjector& projector, const std::string& name) {
  return projector.projector().named_parameters()[name];
}

// [streams, tokens, width] as rows of all streams' numbers.
at::Tensor rows(const at::Tensor& streams) {
  return streams.transpose(0, 1).flatten(1);
}

TEST(Autoencoder, BothWaysEndInOneDecoder) {
  const KvProjector projector = autoencoder();
  const at::NoGradGuard no_gradients;
  const at::Tensor sender = golden_fill({2, 7, 4}, 1, 1.0),
                   receiver = golden_fill({4, 7, 4}, 2, 1.0);
  weight(projector, "map.bias").fill_(0.25);
  const at::Tensor decoder_Or = weight(projector, "decoder.weight").flatten(0, 1);
  const at::Tensor mapped = at::linear(rows(sender), weight(projector, "map.weight")[0],
                                       weight(projector, "map.bias")[0]);
  EXPECT_TRUE(
      at::allclose(rows(projector.project(sender)), mapped.matmul(decoder_Or.t()), 1e-5, 1e-6));
  const at::Tensor encoded =
      rows(receiver).matmul(weight(projector, "encoder.linear.weight")[0].t());
  EXPECT_TRUE(at::allclose(rows(projector.reconstruct(receiver)), encoded.matmul(decoder_Or.t()),
                           1e-5, 1e-6));
}

TEST(Autoencoder, ProjectionsTrainTheMapAloneAndReconstructionsTheRest) {
  const KvProjector projector = autoencoder();
  const auto is_trained = [&](const char* name) {
    return weight(projector, name).grad().defined();
  };
  projector.project(golden_fill({2, 7, 4}, 1, 1.0)).square().sum().backward();
  EXPECT_TRUE(is_trained("map.weight"));
  EXPECT_FALSE(is_trained("decoder.weight"));
  EXPECT_FALSE(is_trained("encoder.linear.weight"));
  projector.projector().zero_grad();
  projector.reconstruct(golden_fill({4, 7, 4}, 2, 1.0)).square().sum().backward();
  EXPECT_TRUE(is_trained("decoder.weight"));
  EXPECT_TRUE(is_trained("encoder.linear.weight"));
}

// Both read the decoder, whose outputs are standardised once.
TEST(Autoencoder, FoldingKeepsBothWays) {
  const KvProjector projector = autoencoder();
  const at::NoGradGuard no_gradients;
  const at::Tensor sender = golden_fill({2, 7, 4}, 1, 1.0),
                   receiver = golden_fill({4, 7, 4}, 2, 1.0);
  for (Projector* part : {&projector.projector(), projector.receiver_part()}) {
    const ProjectorShape& shape = part->shape();
    part->set_standardisation({golden_fill({1, shape.num_features}, 3, 1.0),
                               golden_fill({1, shape.num_features}, 4, 0.5) + 1.0,
                               golden_fill({4, 4}, 5, 1.0), golden_fill({4, 4}, 6, 0.5) + 1.0});
  }
  const at::Tensor projected = projector.project(sender);
  const at::Tensor reconstructed = projector.reconstruct(receiver);
  projector.projector().fold_standardisation();
  projector.receiver_part()->fold_standardisation();
  EXPECT_TRUE(projector.projector().buffers().empty());
  EXPECT_TRUE(at::allclose(projector.project(sender), projected, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(projector.reconstruct(receiver), reconstructed, 1e-4, 1e-5));
}

TEST(Autoencoder, CountsItsThreeMaps) {
  const KvProjector projector({.kind = "autoencoder", .rank = 512}, flat(512), flat(4096));
  EXPECT_EQ(projector.projector().num_parameters(),
            512 * 512 + 512 + 512 * 4096 + 4096 + 4096 * 512 + 512);
}

TEST(Autoencoder, SaysWhatItExpects) {
  EXPECT_THROWS_WITH(KvProjector({.kind = "autoencoder", .norm = "rms"}, flat(4), flat(6)),
                     "autoencoder: expected norm none or auto, got rms");
  const KvProjector layered = autoencoder();
  EXPECT_THROWS_WITH(KvProjector({.kind = "autoencoder"}, layered.sender(), layered.receiver()),
                     "Use layer_map.kind all with layer_map.features both");
  EXPECT_THROWS_WITH(KvProjector({}, flat(4), flat(6)).reconstruct(at::zeros({1, 2, 6})),
                     "expected kind autoencoder, got linear_residual");
}

}  // namespace
}  // namespace kvalign
