// The bootstrap against numpy, against its own definition, and by the coverage of its intervals.
#include "kvalign/evaluate/bootstrap.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kvalign/core/random.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/core/temporary_folder.h"
#include "tests/support/python.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

std::vector<int64_t> own_documents(int64_t count) {
  std::vector<int64_t> documents(count);
  std::iota(documents.begin(), documents.end(), 0);
  return documents;
}

at::Tensor normal_values(int64_t count, uint64_t seed) {
  Random random(seed);
  at::Tensor values = at::empty({count}, at::kDouble);
  for (int64_t i = 0; i < count; ++i) values.mutable_data_ptr<double>()[i] = random.normal();
  return values;
}

Interval mean_interval(const Bootstrap& bootstrap, const at::Tensor& values_Q) {
  return bootstrap.interval(bootstrap.sums(values_Q) / bootstrap.sums(at::ones_like(values_Q)));
}

TEST(Bootstrap, FirstRowIsTheDataAndTheOthersDrawAsManySequences) {
  const Bootstrap bootstrap(own_documents(7), 50, 1);
  EXPECT_EQ(bootstrap.num_documents(), 7);
  EXPECT_EQ(bootstrap.num_resamples(), 50);
  EXPECT_TRUE(bootstrap.weights()[0].equal(at::ones({7}, at::kDouble)));
  EXPECT_TRUE(bootstrap.weights().sum(1).equal(at::full({51}, 7, at::kDouble)));
}

TEST(Bootstrap, SequencesOfOneDocumentAreDrawnTogether) {
  const Bootstrap bootstrap({40, 7, 40, 7, 9}, 100, 1);
  EXPECT_EQ(bootstrap.num_documents(), 3);
  const at::Tensor weights = bootstrap.weights().t();
  EXPECT_TRUE(weights[0].equal(weights[2]));
  EXPECT_TRUE(weights[1].equal(weights[3]));
  EXPECT_FALSE(weights[0].equal(weights[1]));
}

TEST(Bootstrap, SameSeedSameResamples) {
  const auto weights = [](uint64_t seed) {
    return Bootstrap(own_documents(9), 20, seed).weights();
  };
  EXPECT_TRUE(weights(3).equal(weights(3)));
  EXPECT_FALSE(weights(3).equal(weights(4)));
}

TEST(Bootstrap, IntervalEqualsNumpyPercentile) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const Bootstrap bootstrap(own_documents(23), 501, 5);
  const at::Tensor values = normal_values(23, 11);
  const Interval interval = mean_interval(bootstrap, values);
  const TemporaryFolder folder;
  write_safetensors(folder.file("b.safetensors"),
                    {{"weights", bootstrap.weights()},
                     {"values", values},
                     {"interval", at::tensor({interval.value, interval.low, interval.high})}});
  EXPECT_EQ(run_python(R"(
import sys, numpy as np
from safetensors.numpy import load_file
t = load_file(sys.argv[1])
means = [np.average(t["values"], weights=w) for w in t["weights"][1:]]
expected = [t["values"].mean(), *np.percentile(means, [2.5, 97.5])]
np.testing.assert_allclose(t["interval"], expected, rtol=1e-12)
)",
                       folder.file("b.safetensors")),
            0);
}

// 40 sequences, mean 0: 95 % intervals should hold it in 95 % of 400 experiments. A percentile
// bootstrap of 40 is a little short (expected about 94 %); three standard errors of 400 are 3.3 %.
TEST(Bootstrap, IntervalsCoverTheTruthAsOftenAsTheySay) {
  int64_t covered = 0;
  for (uint64_t experiment = 0; experiment < 400; ++experiment) {
    const Bootstrap bootstrap(own_documents(40), 400, derive_seed(1, experiment));
    const Interval interval =
        mean_interval(bootstrap, normal_values(40, derive_seed(2, experiment)));
    covered += interval.low <= 0 && 0 <= interval.high;
  }
  EXPECT_GE(covered, 0.907 * 400);
  EXPECT_LE(covered, 0.983 * 400);
}

TEST(Bootstrap, PairedDifferencesAreNarrowerThanTheFigures) {
  const Bootstrap bootstrap(own_documents(30), 500, 1);
  const at::Tensor values = normal_values(30, 3);
  const at::Tensor better = values + 0.01 * normal_values(30, 4) + 0.1;
  const Interval difference = mean_interval(bootstrap, better - values);
  EXPECT_GT(difference.low, 0.09);
  EXPECT_LT(difference.high, 0.11);
  EXPECT_GT(mean_interval(bootstrap, better).high - mean_interval(bootstrap, better).low, 0.3);
}

TEST(Bootstrap, OneDocumentGivesNoInterval) {
  const Interval interval = mean_interval(Bootstrap({5, 5}, 10, 1), normal_values(2, 1));
  EXPECT_TRUE(std::isfinite(interval.value));
  EXPECT_TRUE(std::isnan(interval.low));
  EXPECT_TRUE(std::isnan(interval.high));
}

TEST(Bootstrap, UndefinedResamplesAreLeftOut) {
  const Bootstrap bootstrap(own_documents(3), 4, 1);
  const Interval interval = bootstrap.interval(at::tensor({1.0, 2.0, NAN, 2.0, 2.0}));
  EXPECT_EQ(interval.value, 1.0);
  EXPECT_EQ(interval.low, 2.0);
  EXPECT_EQ(interval.high, 2.0);
}

TEST(Bootstrap, RefusesWhatItCannotUse) {
  EXPECT_THROWS_WITH(Bootstrap({}, 10, 1), "there are no sequences to resample");
  EXPECT_THROWS_WITH(Bootstrap({1}, 0, 1), "expected a positive number of resamples, got 0");
  const Bootstrap bootstrap(own_documents(3), 4, 1);
  EXPECT_THROWS_WITH(bootstrap.sums(at::zeros({2}, at::kDouble)),
                     "expected one entry for each of 3 sequences");
  EXPECT_THROWS_WITH(bootstrap.interval(at::zeros({4}, at::kDouble)),
                     "expected the data's figure and 4 resamples");
}

}  // namespace
}  // namespace kvalign
