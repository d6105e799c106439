// The learned kinds against their formulas, stream by stream in float64; counts, initial weights,
// gradients and errors. Standardisation is in projector_standardisation_test.cpp.
#include "kvalign/projector/projector.h"

#include <ATen/ATen.h>

#include "kvalign/core/options.h"
#include "tests/support/golden_fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_double;
using testing::golden_fill;

constexpr ProjectorShape kOneStream{
    .num_groups = 1, .num_features = 5, .num_streams = 1, .width = 7};
constexpr ProjectorShape kOneGroup{
    .num_groups = 1, .num_features = 5, .num_streams = 4, .width = 7};
constexpr ProjectorShape kTwoGroups{
    .num_groups = 2, .num_features = 5, .num_streams = 4, .width = 7};
constexpr ProjectorShape kOwnGroups{
    .num_groups = 4, .num_features = 5, .num_streams = 4, .width = 7};

ProjectorOptions plain(const std::string& kind, const std::string& norm) {
  ProjectorOptions options{.kind = kind, .norm = norm, .hidden_size = 3};
  options.standardise_features = false;
  options.standardise_targets = false;
  return options;
}

// Random values in every parameter, so that biases, gammas and betas matter.
void fill_parameters(Projector& projector) {
  const at::NoGradGuard no_gradients;
  uint64_t seed = 1000;
  for (const auto& parameter : projector.named_parameters()) {
    parameter.value().copy_(golden_fill(parameter.value().sizes(), ++seed, 1.0));
  }
}

at::Tensor reference_norm(const std::string& norm, const at::Tensor& input_TD,
                          const at::Tensor& gamma_D, const at::Tensor& beta_D) {
  if (norm == "none") {
    return input_TD;
  }
  if (norm == "rms") {
    return input_TD / (input_TD.square().mean(1, true) + 1e-5).sqrt() * gamma_D;
  }
  const at::Tensor centred = input_TD - input_TD.mean(1, true);
  return centred / (centred.square().mean(1, true) + 1e-5).sqrt() * gamma_D + beta_D;
}

// The formulas, one stream at a time; float64 parameters.
at::Tensor reference(Projector& projector, const ProjectorOptions& options,
                     const at::Tensor& features_GTF) {
  const auto parameters = projector.named_parameters();
  const auto of_stream = [&](const std::string& name, int64_t stream) {
    return parameters.contains(name) ? parameters[name][stream] : at::Tensor();
  };
  const ProjectorShape& shape = projector.shape();
  std::vector<at::Tensor> outputs;
  for (int64_t r = 0; r < shape.num_streams; ++r) {
    const at::Tensor x = features_GTF[r / (shape.num_streams / shape.num_groups)];
    at::Tensor y;
    if (options.kind == "linear_residual") {
      y = at::mm(x, of_stream("linear.weight", r).t()) + of_stream("linear.bias", r);
    } else {
      const at::Tensor h = at::mm(x, of_stream("input.weight", r).t()) + of_stream("input.bias", r);
      const at::Tensor gelu = h * 0.5 * (1 + at::erf(h / std::sqrt(2.0)));
      y = at::mm(gelu, of_stream("output.weight", r).t()) + of_stream("output.bias", r);
    }
    outputs.push_back(
        reference_norm(options.norm, y, of_stream("norm.gamma", r), of_stream("norm.beta", r)));
  }
  return at::stack(outputs);
}

TEST(Projector, EveryKindNormAndGroupingFollowsItsFormula) {
  for (const ProjectorShape& shape : {kOneStream, kOneGroup, kTwoGroups, kOwnGroups}) {
    for (const char* kind : {"linear_residual", "mlp"}) {
      for (const char* norm : {"layer", "rms", "none"}) {
        const ProjectorOptions options = plain(kind, norm);
        const auto projector = make_projector(options, shape);
        fill_parameters(*projector);
        projector->to(at::kDouble);
        for (const int64_t num_tokens : {1, 11}) {
          const at::Tensor features =
              golden_double({shape.num_groups, num_tokens, shape.num_features}, 7);
          const at::Tensor got = projector->forward(features);
          ASSERT_EQ(got.sizes(), at::IntArrayRef({shape.num_streams, num_tokens, shape.width}));
          EXPECT_LE((got - reference(*projector, options, features)).abs().max().item<double>(),
                    1e-12)
              << kind << " " << norm << " groups " << shape.num_groups << " streams "
              << shape.num_streams;
        }
      }
    }
  }
}

TEST(Projector, ParameterCountsOfTheFirstDesign) {
  const ProjectorShape shape{.num_groups = 1, .num_features = 512, .num_streams = 1, .width = 4096};
  // 512 * 4096 + 4096 + 2 * 4096
  EXPECT_EQ(make_projector({.kind = "linear_residual"}, shape)->num_parameters(), 2109440);
  // 512 * 1024 + 1024 + 1024 * 4096 + 4096 + 2 * 4096
  EXPECT_EQ(make_projector({.kind = "mlp", .hidden_size = 1024}, shape)->num_parameters(), 4731904);
}

TEST(Projector, NormAutoIsLayerForFlatCachesAndNoneForModels) {
  EXPECT_EQ(make_projector({}, kOneStream)->num_parameters(), 5 * 7 + 7 + 2 * 7);
  EXPECT_EQ(make_projector({}, kOwnGroups)->num_parameters(), 4 * (5 * 7 + 7));
}

TEST(Projector, InitialWeightsAreThoseOfTorchLinearAndFollowTheSeed) {
  const ProjectorShape shape{.num_groups = 1, .num_features = 64, .num_streams = 2, .width = 100};
  const auto weight = [&](int64_t seed) {
    ProjectorOptions options{.kind = "linear_residual", .norm = "layer", .seed = seed};
    return make_projector(options, shape)->named_parameters()["linear.weight"].detach();
  };
  EXPECT_TRUE(weight(1).equal(weight(1)));
  EXPECT_FALSE(weight(1).equal(weight(2)));
  // U(-1/8, 1/8): 12,800 draws reach within 1 % of the limits; deviation 1 / (8 sqrt 3).
  EXPECT_LE(weight(1).abs().max().item<double>(), 0.125);
  EXPECT_GE(weight(1).abs().max().item<double>(), 0.99 * 0.125);
  EXPECT_NEAR(weight(1).std().item<double>(), 0.0722, 0.0015);

  const auto projector = make_projector({.kind = "linear_residual", .norm = "layer"}, shape);
  const auto parameters = projector->named_parameters();
  EXPECT_TRUE(parameters["linear.bias"].eq(0).all().item<bool>());
  EXPECT_TRUE(parameters["norm.gamma"].eq(1).all().item<bool>());
  EXPECT_TRUE(parameters["norm.beta"].eq(0).all().item<bool>());
}

TEST(Projector, GradientsMatchFiniteDifferences) {
  for (ProjectorShape shape : {kOneStream, kOneGroup, kTwoGroups, kOwnGroups}) {
    shape.num_features = 2;
    shape.width = 3;
    for (const char* kind : {"linear_residual", "mlp"}) {
      for (const char* norm : {"layer", "rms", "none"}) {
        const auto projector = make_projector(plain(kind, norm), shape);
        fill_parameters(*projector);
        projector->to(at::kDouble);
        at::Tensor features =
            golden_double({shape.num_groups, 3, shape.num_features}, 7).requires_grad_();
        const at::Tensor probe = golden_double({shape.num_streams, 3, shape.width}, 8);
        const auto scalar = [&] { return (projector->forward(features) * probe).sum(); };
        SCOPED_TRACE(std::string(kind) + " " + norm);
        testing::expect_gradient_matches(scalar, features);
        for (const auto& parameter : projector->named_parameters()) {
          SCOPED_TRACE(parameter.key());
          testing::expect_gradient_matches(scalar, parameter.value());
        }
      }
    }
  }
}

TEST(Projector, ErrorsSayWhatToDo) {
  EXPECT_THROWS_WITH(
      make_projector({.kind = "magic"}, kOneStream),
      "unknown projector kind 'magic'; known: linear_residual, mlp, residual_mlp, low_rank, "
      "bidirectional, autoencoder, truncate");
  EXPECT_THROWS_WITH(make_projector({.norm = "batch"}, kOneStream),
                     "expected norm layer, rms or none, got 'batch'");
  EXPECT_THROWS_WITH(make_projector({}, {.num_features = 0, .width = 7}),
                     "expected positive sizes, got num_groups 1, num_features 0");
  EXPECT_THROWS_WITH(
      make_projector({}, {.num_groups = 3, .num_features = 5, .num_streams = 4, .width = 7}),
      "expected num_groups to divide num_streams, got 3 and 4");
  EXPECT_THROWS_WITH(make_projector({}, kTwoGroups)->forward(at::zeros({1, 3, 5})),
                     "expected features of shape [2, tokens, 5], got [1, 3, 5]");
}

TEST(Projector, OptionsAreDescribed) {
  ProjectorOptions options;
  read_options(options, "", {"kind=mlp", "norm=rms", "hidden_size=9", "layer_map.kind=all"});
  EXPECT_EQ(options.hidden_size, 9);
  EXPECT_EQ(options.layer_map.kind, "all");
  EXPECT_THROWS_WITH(read_options(options, "", {"kind=magic"}), "linear_residual");
}

}  // namespace
}  // namespace kvalign
