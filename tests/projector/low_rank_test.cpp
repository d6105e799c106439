// The latent: its wire, its gradients, and the smaller ranks inside it.
#include <ATen/ATen.h>

#include "kvalign/projector/kv_projector.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

KvGeometry geometry(const std::string& model, int64_t num_layers) {
  return {.model = model,
          .num_layers = num_layers,
          .num_kv_heads = 2,
          .head_dim = 4,
          .rope = RopeOptions{.rotary_dim = 4}};
}

KvProjector low_rank(const std::string& wire, int64_t rank = 5) {
  return KvProjector({.kind = "low_rank",
                      .rank = rank,
                      .latent_wire = wire,
                      .layer_map = {.kind = "all", .features = "both"}},
                     geometry("small", 2), geometry("large", 3));
}

// A projector whose only latent is the first feature, and whose outputs are the latent.
KvProjector identity(const std::string& wire) {
  KvProjector projector = low_rank(wire, 1);
  const at::NoGradGuard no_gradients;
  for (auto& item : projector.projector().named_parameters()) item.value().zero_();
  projector.projector().named_parameters()["encoder.weight"][0][0][0] = 1;
  projector.projector().named_parameters()["decoder.weight"].fill_(1);
  return projector;
}

at::Tensor sent(const std::string& wire, const std::vector<float>& latents) {
  const auto count = static_cast<int64_t>(latents.size());
  at::Tensor features = at::zeros({1, count, 32});
  features[0].select(1, 0).copy_(at::tensor(latents));
  return identity(wire).projector().forward(features)[0].select(1, 0).detach();
}

TEST(LowRank, LatentTakesTheRoundingOfItsWire) {
  EXPECT_TRUE(sent("float32", {0.1f, 100.0f}).equal(at::tensor({0.1f, 100.0f})));
  EXPECT_TRUE(sent("float16", {0.1f, 1000.3f}).equal(at::tensor({0.0999755859375f, 1000.5f})));
  // E4M3 of 16 x: 1.6 -> 1.625, 17.6 -> 18, 448 at most, steps of 2^-9 at the bottom.
  EXPECT_TRUE(sent("float8_e4m3fn", {0.1f, -1.1f, 100.0f, -100.0f, 0.0001f})
                  .equal(at::tensor({1.625f / 16, -18.0f / 16, 28.0f, -28.0f, 1.0f / 512 / 16})));
}

TEST(LowRank, GradientsPassStraightThroughTheWire) {
  const at::Tensor features = golden_fill({1, 6, 32}, 3, 1.0);
  std::vector<at::Tensor> gradients;
  for (const char* wire : {"float32", "float8_e4m3fn"}) {
    const KvProjector projector = low_rank(wire);
    projector.projector().forward(features).sum().backward();
    gradients.push_back(projector.projector().named_parameters()["encoder.weight"].grad());
  }
  EXPECT_GT(gradients[0].abs().max().item<double>(), 0);
  EXPECT_TRUE(at::allclose(gradients[0], gradients[1]));
}

TEST(LowRank, ASmallerRankIsTheBeginningOfTheLatent) {
  const KvProjector whole = low_rank("float32");
  const at::Tensor streams = golden_fill({4, 7, 8}, 1, 1.0);
  const KvProjector cut = whole.with_rank(3);
  EXPECT_EQ(cut.options().rank, 3);
  EXPECT_EQ(cut.latent_bytes(), 12);
  auto parameters = whole.projector().named_parameters();
  {
    const at::NoGradGuard no_gradients;
    parameters["encoder.weight"].narrow(1, 3, 2).zero_();
    parameters["encoder.bias"].narrow(1, 3, 2).zero_();
  }
  EXPECT_TRUE(at::allclose(cut.project(streams), whole.project(streams), 1e-5, 1e-6));
  EXPECT_TRUE(whole.with_rank(5).project(streams).equal(whole.project(streams)));
}

TEST(LowRank, ReadsALatentThatArrived) {
  const KvProjector whole = low_rank("float32");
  const at::Tensor streams = golden_fill({4, 7, 8}, 1, 1.0);
  auto parameters = whole.projector().named_parameters();
  const at::Tensor latent_1Tr =
      whole.plan().gather(streams).matmul(parameters["encoder.weight"].transpose(1, 2)) +
      parameters["encoder.bias"].unsqueeze(1);
  const auto equal = [](const at::Tensor& a, const at::Tensor& b) {
    return at::allclose(a, b, 1e-5, 1e-6);
  };
  EXPECT_TRUE(equal(whole.projector().project_latent(latent_1Tr), whole.project(streams)));
  EXPECT_TRUE(equal(whole.projector().project_latent(latent_1Tr.narrow(2, 0, 3)),
                    whole.with_rank(3).project(streams)));
  EXPECT_THROWS_WITH(whole.projector().project_latent(at::zeros({1, 7, 6})),
                     "expected [1, tokens, 1 .. 5], got [1, 7, 6]");
  const KvProjector linear({}, geometry("small", 2), geometry("large", 3));
  EXPECT_THROWS_WITH(linear.projector().project_latent(at::zeros({1, 7, 6})),
                     "linear_residual has no latent");
}

TEST(LowRank, UsesTheBeginningOfItsLatentWhereToldTo) {
  const KvProjector whole = low_rank("float8_e4m3fn");
  const at::Tensor streams = golden_fill({4, 7, 8}, 1, 1.0);
  const at::Tensor all = whole.project(streams);
  whole.projector().use_rank(3);
  const at::Tensor beginning = whole.project(streams);
  EXPECT_TRUE(at::allclose(beginning, whole.with_rank(3).project(streams), 1e-5, 1e-6));
  beginning.sum().backward();
  auto parameters = whole.projector().named_parameters();
  EXPECT_GT(parameters["encoder.weight"].grad()[0][2].abs().max().item<double>(), 0);
  EXPECT_EQ(parameters["encoder.weight"].grad()[0][3].abs().max().item<double>(), 0);
  whole.projector().use_rank(0);
  EXPECT_TRUE(whole.project(streams).equal(all));
  EXPECT_THROWS_WITH(whole.projector().use_rank(6), "expected 0 .. 5, got 6");
  const KvProjector linear({}, geometry("small", 2), geometry("large", 3));
  EXPECT_THROWS_WITH(linear.projector().use_rank(2), "expected kind low_rank");
}

TEST(LowRank, BytesAreThoseOfTheLatent) {
  EXPECT_EQ(low_rank("float8_e4m3fn").latent_bytes(), 5);
  EXPECT_EQ(low_rank("float16").latent_bytes(), 10);
  EXPECT_EQ(KvProjector({}, geometry("small", 2), geometry("large", 3)).latent_bytes(), 0);
}

TEST(LowRank, SaysWhatItExpects) {
  EXPECT_THROWS_WITH(KvProjector({.kind = "low_rank", .layer_map = {.kind = "all"}},
                                 geometry("small", 2), geometry("large", 3)),
                     "layer_map.features both");
  EXPECT_THROWS_WITH(
      KvProjector(
          {.kind = "low_rank", .norm = "layer", .layer_map = {.kind = "all", .features = "both"}},
          geometry("small", 2), geometry("large", 3)),
      "expected norm none");
  EXPECT_THROWS_WITH(low_rank("float32").with_rank(6), "expected 1 .. 5, got 6");
  EXPECT_THROWS_WITH(KvProjector({}, geometry("small", 2), geometry("large", 3)).with_rank(1),
                     "has no latent");
}

}  // namespace
}  // namespace kvalign
