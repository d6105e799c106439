// Certificates of every kind of projector against the projector itself, run in float64 by LibTorch
// on inputs within the box, and the attack that comes nearest to a linear bound.
#include "kvalign/evaluate/stream_certificate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

constexpr int64_t kFeatures = 12, kStreams = 4, kWidth = 9, kTokens = 5;

struct Case {
  const char* kind;
  const char* norm;
  int64_t groups;
};

class StreamCertificateOf : public ::testing::TestWithParam<Case> {
 protected:
  std::shared_ptr<Projector> make() {
    const Case& kind = GetParam();
    const auto projector = make_projector(
        {.kind = kind.kind, .norm = kind.norm, .hidden_size = 7, .rank = 6, .seed = 3},
        {.num_groups = kind.groups,
         .num_features = kFeatures,
         .num_streams = kStreams,
         .width = kWidth});
    const at::NoGradGuard no_gradients;
    for (at::Tensor& parameter : projector->parameters()) {
      if (!parameter.any().item<bool>()) parameter.uniform_(-0.5, 0.5);  // what starts at 0
    }
    projector->to(at::kDouble);
    return projector;
  }

  static bool is_low_rank() { return std::string(GetParam().kind) == "low_rank"; }

  static at::Tensor run(Projector& projector, const at::Tensor& input) {
    const at::NoGradGuard no_gradients;
    return is_low_rank() ? projector.project_latent(input) : projector.forward(input);
  }
};

TEST_P(StreamCertificateOf, HoldsForRandomInputsAndForCorners) {
  at::manual_seed(1);
  const auto projector = make();
  const int64_t width = is_low_rank() ? 6 : kFeatures;
  const at::Tensor decoded = at::randn({GetParam().groups, kTokens, width}, at::kDouble);
  const at::Tensor half_widths = at::rand_like(decoded) * 0.3;
  const at::Tensor centre_RTD = run(*projector, decoded);
  std::vector<at::Tensor> bounds;
  for (int64_t stream = 0; stream < kStreams; ++stream) {
    const int64_t group = stream / (kStreams / GetParam().groups);
    bounds.push_back(certified_bounds(make_stream_certificate(*projector, stream), decoded[group],
                                      half_widths[group]));
  }
  const at::Tensor bound_RT = at::stack(bounds);
  double tightest = 0;
  for (int trial = 0; trial < 200; ++trial) {
    at::Tensor offset = at::rand_like(decoded) * 2 - 1;
    if (trial % 2 == 1) offset = offset.sign();
    const at::Tensor move_RT = at::linalg_vector_norm(
        run(*projector, decoded + offset * half_widths) - centre_RTD, 2, {2});
    EXPECT_TRUE(move_RT.le(bound_RT).all().item<bool>());
    tightest = std::max(tightest, (move_RT / bound_RT).max().item<double>());
  }
  EXPECT_GT(tightest, 0.15);  // a bound of the wrong scale would hold, too
  EXPECT_TRUE(certified_bounds(make_stream_certificate(*projector, 0), decoded[0],
                               at::zeros_like(half_widths[0]))
                  .max()
                  .item<double>() < 1e-9);
}

// Compiled without OpenMP, at::parallel_for would run all on one thread and say nothing.
TEST(CertifiedBounds, AreSharedOutAmongThreads) {
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  certified_bounds(
      [&](const Eigen::VectorXd&, const Eigen::VectorXd&) {
        const std::lock_guard lock(mutex);
        seen.insert(std::this_thread::get_id());
        return Certified(0);
      },
      at::zeros({4, 1}), at::zeros({4, 1}, at::kDouble));
  at::set_num_threads(threads);
  EXPECT_EQ(seen.size(), 2U);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, StreamCertificateOf,
    ::testing::Values(Case{"linear_residual", "none", 1}, Case{"linear_residual", "layer", 2},
                      Case{"linear_residual", "rms", 4}, Case{"mlp", "none", 1},
                      Case{"mlp", "layer", 4}, Case{"residual_mlp", "none", 2},
                      Case{"low_rank", "none", 1}, Case{"bidirectional", "none", 2},
                      Case{"autoencoder", "none", 1}),
    [](const auto& info) {
      return std::string(info.param.kind) + "_" + info.param.norm + "_" +
             std::to_string(info.param.groups);
    });

// Along the first right singular vector a linear map moves as far as its norm says.
TEST(StreamCertificate, IsAttainedByALinearMap) {
  const auto projector = make_projector({.kind = "linear_residual", .norm = "none"},
                                        {.num_features = 1, .num_streams = 1, .width = kWidth});
  const at::Tensor weight_D = projector->named_parameters()["linear.weight"][0].flatten();
  const double expected = 0.25 * at::linalg_vector_norm(weight_D.to(at::kDouble)).item<double>();
  const Certified bound = make_stream_certificate(*projector, 0)(
      Eigen::VectorXd::Zero(1), Eigen::VectorXd::Constant(1, 0.25));
  EXPECT_GE(bound.value(), expected);
  EXPECT_NEAR(bound.value(), expected, 1e-8);
}

TEST(StreamCertificate, RefusesKindsWithoutWeights) {
  const auto projector =
      make_projector({.kind = "pad"}, {.num_features = 3, .num_streams = 1, .width = 5});
  EXPECT_THROWS_WITH(make_stream_certificate(*projector, 0), "got pad, which has no weights");
}

TEST(StreamCertificate, OutputDimensionsAreThoseOfTheNarrowestPart) {
  const auto dimensions = [](const ProjectorOptions& options) {
    return output_dimensions(
        *make_projector(options, {.num_features = 12, .num_streams = 2, .width = 9}));
  };
  EXPECT_EQ(dimensions({.kind = "linear_residual", .norm = "none"}), 12);
  EXPECT_EQ(dimensions({.kind = "linear_residual", .norm = "layer"}), 13);
  EXPECT_EQ(dimensions({.kind = "mlp", .norm = "none", .hidden_size = 5}), 5);
  EXPECT_EQ(dimensions({.kind = "mlp", .norm = "layer", .hidden_size = 5}), 6);
  EXPECT_EQ(dimensions({.kind = "residual_mlp", .hidden_size = 5}), 17);
  EXPECT_EQ(dimensions({.kind = "low_rank", .rank = 4}), 4);
  EXPECT_EQ(dimensions({.kind = "bidirectional"}), 12);
  EXPECT_EQ(dimensions({.kind = "autoencoder", .rank = 4}), 4);
}

}  // namespace
}  // namespace kvalign
