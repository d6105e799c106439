// Figures against numpy and against cases that can be worked out by hand.
//
// Shapes:  R streams   T tokens   D width
#include "kvalign/evaluate/reconstruction.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kvalign/core/random.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/core/temporary_folder.h"
#include "tests/support/python.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

at::Tensor random_streams(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, make_generator(seed), at::kFloat);
}

at::Tensor offsets_of(std::vector<int64_t> offsets) {
  return at::tensor(offsets, at::kLong);
}

SummedErrors data_only(const TargetSums& targets, const ErrorSums& errors) {
  return {.tokens_N = targets.tokens_Q.sum(0, true),
          .squared_norm_NR = targets.squared_norm_QR.sum(0, true),
          .squared_deviation_NR = targets.squared_deviation_QR.sum(0, true),
          .squared_error_NR = errors.squared_error_QR.sum(0, true),
          .cosine_NR = errors.cosine_QR.sum(0, true),
          .width = targets.width};
}

// In two batches of whole sequences, the first ending at token `cut` and sequence 2.
SummedErrors measure(const at::Tensor& target, const at::Tensor& predicted, int64_t cut) {
  StreamMean mean;
  mean.add(target);
  TargetAccumulator targets(mean.mean());
  ErrorAccumulator errors;
  const int64_t rest = target.size(1) - cut;
  targets.add(target.narrow(1, 0, cut), offsets_of({0, 1, cut}));
  errors.add(predicted.narrow(1, 0, cut), target.narrow(1, 0, cut), offsets_of({0, 1, cut}));
  targets.add(target.narrow(1, cut, rest), offsets_of({0, rest}));
  errors.add(predicted.narrow(1, cut, rest), target.narrow(1, cut, rest), offsets_of({0, rest}));
  return data_only(targets.sums(), errors.sums());
}

// Keys of real models stand far from 0 compared with their spread: the offset is meant.
TEST(Reconstruction, FiguresEqualNumpy) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const at::Tensor target = random_streams({3, 41, 17}, 1) + 5 * random_streams({3, 1, 17}, 2);
  const at::Tensor predicted = target + 0.3 * random_streams({3, 41, 17}, 3);
  const SummedErrors sums = measure(target, predicted, 19);
  const Figures streams = stream_figures(sums);
  const Figures mean = mean_figures(sums, {0, 2}), pooled = pooled_figures(sums, {0, 2});
  const auto stack = [](const Figures& figures) {
    return at::stack({figures.mse, figures.relative_error, figures.cosine, figures.r2});
  };
  const TemporaryFolder folder;
  write_safetensors(folder.file("r.safetensors"), {{"target", target},
                                                   {"predicted", predicted},
                                                   {"streams", stack(streams).squeeze(1)},
                                                   {"mean", stack(mean).squeeze(1)},
                                                   {"pooled", stack(pooled).squeeze(1)}});
  EXPECT_EQ(run_python(R"(
import sys, numpy as np
from safetensors.numpy import load_file
t = load_file(sys.argv[1])
y, p = t["target"].astype(np.float64), t["predicted"].astype(np.float64)
norm = np.linalg.norm
def figures(y, p):
    sse = ((y - p) ** 2).sum()
    return [((y - p) ** 2).mean(), norm(y - p) / norm(y),
            ((y * p).sum(-1) / norm(y, axis=-1) / norm(p, axis=-1)).mean(),
            1 - sse / ((y - y.mean(-2, keepdims=True)) ** 2).sum()]
streams = np.array([figures(y[r], p[r]) for r in range(3)]).T
np.testing.assert_allclose(t["streams"], streams, rtol=2e-6)
np.testing.assert_allclose(t["mean"], streams[:, [0, 2]].mean(1), rtol=2e-6)
np.testing.assert_allclose(t["pooled"], figures(y[[0, 2]], p[[0, 2]]), rtol=2e-6)
)",
                       folder.file("r.safetensors")),
            0);
}

TEST(Reconstruction, PerfectProjectionIsPerfect) {
  const at::Tensor target = random_streams({2, 9, 5}, 1);
  const Figures figures = stream_figures(measure(target, target, 4));
  EXPECT_TRUE(figures.mse.equal(at::zeros({1, 2}, at::kDouble)));
  EXPECT_TRUE(figures.relative_error.equal(at::zeros({1, 2}, at::kDouble)));
  EXPECT_TRUE(figures.r2.equal(at::ones({1, 2}, at::kDouble)));
  EXPECT_TRUE(figures.cosine.allclose(at::ones({1, 2}, at::kDouble), 0, 1e-6));
}

TEST(Reconstruction, MeanOfTheHeldOutTokensHasR2Zero) {
  const at::Tensor target = random_streams({2, 9, 5}, 1) + 100;
  const at::Tensor predicted = target.mean(1, /*keepdim=*/true).expand_as(target);
  EXPECT_TRUE(stream_figures(measure(target, predicted, 4))
                  .r2.allclose(at::zeros({1, 2}, at::kDouble), 0, 1e-6));
}

TEST(Reconstruction, ConstantStreamHasNoR2AndIsLeftOutOfTheMean) {
  at::Tensor target = random_streams({2, 9, 5}, 1);
  target[1].fill_(0.1);
  const SummedErrors sums = measure(target, target + 0.5, 4);
  EXPECT_TRUE(std::isnan(stream_figures(sums).r2[0][1].item<double>()));
  EXPECT_EQ(mean_figures(sums, {0, 1}).r2.item<double>(),
            stream_figures(sums).r2[0][0].item<double>());
}

TEST(Reconstruction, CosineOfAZeroVectorIsZero) {
  const at::Tensor target = random_streams({1, 9, 5}, 1);
  const Figures figures = stream_figures(measure(target, at::zeros_like(target), 4));
  EXPECT_EQ(figures.cosine.item<double>(), 0);
  EXPECT_DOUBLE_EQ(figures.relative_error.item<double>(), 1);
}

TEST(Reconstruction, RefusesWhatItCannotUse) {
  const at::Tensor target = random_streams({1, 3, 5}, 1);
  ErrorAccumulator errors;
  EXPECT_THROWS_WITH(errors.add(target.narrow(2, 0, 4), target, offsets_of({0, 3})),
                     "expected a projection of the target's shape [1, 3, 5], got [1, 3, 4]");
  EXPECT_THROWS_WITH(errors.add(target / 0, target, offsets_of({0, 3})),
                     "the projection is not finite");
  EXPECT_THROWS_WITH(errors.sums(), "no batch was added");
  EXPECT_THROWS_WITH(TargetAccumulator(at::zeros({1, 5})).sums(), "no batch was added");
  StreamMean mean;
  EXPECT_THROWS_WITH(mean.mean(), "no token was added");
  mean.add(target);
  EXPECT_THROWS_WITH(mean.add(target.narrow(2, 0, 4)), "expected [streams, width] [1, 5], got");
}

}  // namespace
}  // namespace kvalign
