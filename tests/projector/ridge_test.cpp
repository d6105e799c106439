// Closed forms against scikit-learn and numpy (tests/golden/make_ridge.py), and sums that merge.
#include "kvalign/projector/ridge.h"

#include <ATen/ATen.h>

#include "kvalign/core/safetensors.h"
#include "kvalign/core/temporary_folder.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

struct Golden {
  SafetensorsFile file =
      SafetensorsFile::open(std::string(KVALIGN_SOURCE_DIR) + "/tests/golden/ridge.safetensors");
  at::Tensor operator[](const char* name) const { return file.tensor(name); }

  RidgeStatistics statistics() const {
    const at::Tensor features = (*this)["features"], targets = (*this)["targets"];
    RidgeStatistics sums({.num_groups = 1,
                          .num_features = features.size(2),
                          .num_streams = targets.size(0),
                          .width = targets.size(2)});
    for (int64_t begin = 0; begin < features.size(1); begin += 70) {
      const int64_t count = std::min<int64_t>(70, features.size(1) - begin);
      sums.add(features.narrow(1, begin, count), targets.narrow(1, begin, count));
    }
    return sums;
  }
};

double relative_difference(const at::Tensor& got, const at::Tensor& expected) {
  return ((got.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

TEST(Ridge, EqualsScikitLearnWithALambdaForEachStream) {
  const Golden golden;
  const at::Tensor lambdas = golden["lambdas"];
  const double* first = lambdas.const_data_ptr<double>();
  const RidgeMap map = Ridge(golden.statistics()).solve({first, first + lambdas.numel()});
  EXPECT_LT(relative_difference(map.weight_RDF, golden["weight"]), 1e-6);
  EXPECT_LT(relative_difference(map.bias_RD, golden["bias"]), 1e-6);
}

TEST(Ridge, ReducedRankEqualsTheSingularVectorsOfTheWeightedFit) {
  const Golden golden;
  const Ridge ridge(golden.statistics());
  const double lambda = golden["shared_lambda"].item<double>();
  for (const auto& [rank, weight, bias] :
       {std::tuple{2, "rank2.weight", "rank2.bias"}, std::tuple{5, "rank5.weight", "rank5.bias"}}) {
    const LowRankMap map = ridge.reduce(lambda, rank, golden["metric"]);
    const at::Tensor decoder_Or = map.decoder_RDr.flatten(0, 1);
    EXPECT_LT(relative_difference(decoder_Or.mm(map.encoder_rF), golden[weight]), 1e-5);
    EXPECT_LT(relative_difference(decoder_Or.mv(map.encoder_bias_r) + map.decoder_bias_RD.flatten(),
                                  golden[bias]),
              1e-5);
  }
}

TEST(Ridge, LatentsAreNestedAndOfUnitSize) {
  const Golden golden;
  const Ridge ridge(golden.statistics());
  const LowRankMap large = ridge.reduce(0.02, 6, golden["metric"]);
  const LowRankMap small = ridge.reduce(0.02, 3, golden["metric"]);
  EXPECT_TRUE(at::allclose(large.encoder_rF.narrow(0, 0, 3), small.encoder_rF));
  EXPECT_TRUE(at::allclose(large.decoder_RDr.narrow(2, 0, 3), small.decoder_RDr));
  const at::Tensor latents =
      at::linear(golden["features"][0], large.encoder_rF, large.encoder_bias_r);
  EXPECT_LT(latents.mean(0).abs().max().item<double>(), 1e-3);
  const at::Tensor deviation = latents.std(0, /*unbiased=*/false);
  EXPECT_LT(deviation.max().item<double>(), 1.001);
  EXPECT_GT(deviation.min().item<double>(), 0.3);
}

TEST(Ridge, FullRankIsTheRidgeMapWhateverTheMetric) {
  const Golden golden;
  const Ridge ridge(golden.statistics());
  const RidgeMap whole = ridge.solve({0.02, 0.02, 0.02});
  for (const at::Tensor& metric : {golden["metric"], ridge.variance_metric()}) {
    const LowRankMap map = ridge.reduce(0.02, 12, metric);
    EXPECT_LT(relative_difference(map.decoder_RDr.flatten(0, 1).mm(map.encoder_rF),
                                  whole.weight_RDF.flatten(0, 1).to(at::kDouble)),
              1e-4);
  }
}

TEST(Ridge, HeldOutErrorIsThatOfThePredictions) {
  const Golden golden;
  const Ridge ridge(golden.statistics());
  const at::Tensor features = golden["features"].narrow(1, 0, 40) * 1.1f + 0.3f;
  const at::Tensor targets = golden["targets"].narrow(1, 0, 40) * 0.9f;
  RidgeStatistics held_out({1, 12, 3, 6});
  held_out.add(features, targets);
  const std::vector<double> lambdas = {1e-3, 0.1};
  const at::Tensor error_LR = ridge.held_out_error(held_out, lambdas);
  const at::Tensor mean_RD = golden["targets"].to(at::kDouble).mean(1);
  const at::Tensor total_R = (targets.to(at::kDouble) - mean_RD.unsqueeze(1)).square().sum({1, 2});
  for (int64_t i = 0; i < 2; ++i) {
    const double lambda = lambdas[static_cast<size_t>(i)];
    const RidgeMap map = ridge.solve({lambda, lambda, lambda});
    const at::Tensor predicted_RTD =
        at::matmul(features.to(at::kDouble), map.weight_RDF.to(at::kDouble).transpose(1, 2)) +
        map.bias_RD.unsqueeze(1);
    const at::Tensor expected_R = (predicted_RTD - targets).square().sum({1, 2}) / total_R;
    EXPECT_TRUE(at::allclose(error_LR[i], expected_R, 1e-3)) << error_LR[i] << expected_R;
  }
}

TEST(Ridge, StreamsOfSeveralPenaltiesAreThoseOfEachAlone) {
  const Golden golden;
  const Ridge ridge(golden.statistics());
  const RidgeMap mixed = ridge.solve({0.01, 0.3, 0.01});
  for (const auto& [stream, lambda] : {std::pair{0, 0.01}, {1, 0.3}, {2, 0.01}}) {
    const RidgeMap alone = ridge.solve({lambda, lambda, lambda});
    EXPECT_LT(relative_difference(mixed.weight_RDF[stream], alone.weight_RDF[stream]), 1e-6);
    EXPECT_LT(relative_difference(mixed.bias_RD[stream], alone.bias_RD[stream]), 1e-6);
  }
}

TEST(Ridge, RefusesALambdaThatRoundingSwallows) {
  // The third feature is the sum of the others.
  const at::Tensor two_TF = golden_fill({50, 2}, 3, 1.0).to(at::kFloat);
  const at::Tensor features_TF = at::cat({two_TF, two_TF.sum(1, /*keepdim=*/true)}, 1);
  RidgeStatistics sums({.num_groups = 1, .num_features = 3, .num_streams = 1, .width = 2});
  sums.add(features_TF.unsqueeze(0), two_TF.unsqueeze(0));
  const Ridge ridge(sums);
  EXPECT_NO_THROW(ridge.solve({1e-6}));
  EXPECT_THROWS_WITH(ridge.solve({-1e-9}), "lambda -1e-09 is too small for these 3 features");
}

TEST(Ridge, SmallerLambdasAreTriedAsLongAsTheyHelpAStream) {
  const Golden golden;
  const Ridge ridge(golden.statistics());
  const auto errors_of = [&](const at::Tensor& targets) {
    RidgeStatistics held_out({1, 12, 3, 6});
    held_out.add(golden["features"], targets);
    return ridge.held_out_error(held_out, {1e-3, 1e3, 1e-2, 1e2, 1e-4, 1e-5});
  };
  // What it was fitted on: the smaller, the better.
  EXPECT_TRUE(errors_of(golden["targets"]).isfinite().all().item<bool>());
  // The opposite of it: the more it learned, the worse.
  const at::Tensor mean_R1D = golden["targets"].mean(1, /*keepdim=*/true);
  const at::Tensor error_LR = errors_of(2 * mean_R1D - golden["targets"]);
  const at::Tensor expected_L = at::tensor({0, 1, 1, 1, 0, 0}).to(at::kBool);
  EXPECT_TRUE(error_LR.isfinite().equal(expected_L.unsqueeze(1).expand({6, 3}))) << error_LR;
  EXPECT_TRUE(error_LR.argmin(0).eq(1).all().item<bool>());
}

TEST(Ridge, FeatureNoiseAddsItsCovariance) {
  const Golden golden;
  const RidgeMap map = Ridge(golden.statistics(), 0.05).solve({0.01, 0.01, 0.01});
  const at::Tensor x = golden["features"][0].to(at::kDouble);
  const at::Tensor y = golden["targets"].to(at::kDouble).transpose(0, 1).flatten(1);
  const auto n = static_cast<double>(x.size(0));
  const at::Tensor scale = x.std(0, false), z = (x - x.mean(0)) / scale;
  const at::Tensor penalty = 0.01 + 0.05 * 0.05 * x.square().mean(0) / scale.square();
  const at::Tensor weights_FO =
      at::linalg_solve(z.t().mm(z) / n + at::diag(penalty), z.t().mm(y - y.mean(0)) / n);
  EXPECT_LT(
      relative_difference(map.weight_RDF.flatten(0, 1), (weights_FO / scale.unsqueeze(1)).t()),
      1e-5);
}

TEST(Ridge, ConstantFeatureIsHarmless) {
  at::Tensor features = golden_fill({1, 30, 3}, 1, 1.0);
  features.select(2, 1).fill_(7);
  RidgeStatistics sums({1, 3, 1, 2});
  sums.add(features, golden_fill({1, 30, 2}, 2, 1.0));
  const RidgeMap map = Ridge(sums).solve({1e-3});
  EXPECT_TRUE(map.weight_RDF.isfinite().all().item<bool>());
  EXPECT_LT(map.weight_RDF.select(2, 1).abs().max().item<double>(), 1e-6);
}

TEST(Ridge, GroupsAreFittedApart) {
  const at::Tensor features = golden_fill({2, 50, 4}, 1, 1.0),
                   targets = golden_fill({4, 50, 3}, 2, 1.0);
  RidgeStatistics both({2, 4, 4, 3}), second({1, 4, 2, 3});
  both.add(features, targets);
  second.add(features.narrow(0, 1, 1), targets.narrow(0, 2, 2));
  const RidgeMap whole = Ridge(both).solve({0.1, 0.2, 0.3, 0.4});
  const RidgeMap part = Ridge(second).solve({0.3, 0.4});
  EXPECT_TRUE(at::allclose(whole.weight_RDF.narrow(0, 2, 2), part.weight_RDF));
  EXPECT_TRUE(at::allclose(whole.bias_RD.narrow(0, 2, 2), part.bias_RD));
  EXPECT_THROWS_WITH(Ridge(both).reduce(0.1, 2, Ridge(both).variance_metric()),
                     "one group of features");
}

TEST(Ridge, SaysWhatItExpects) {
  const Golden golden;
  EXPECT_THROWS_WITH(Ridge(RidgeStatistics({1, 2, 1, 2})), "at least 2 tokens, got 0");
  const Ridge ridge(golden.statistics());
  EXPECT_THROWS_WITH(ridge.solve({0.1}), "each of 3 streams, got 1");
  EXPECT_THROWS_WITH(ridge.reduce(0.1, 13, golden["metric"]), "a rank of 1 .. 12, got 13");
  EXPECT_THROWS_WITH(ridge.reduce(0.1, 2, golden["metric"].narrow(0, 0, 2)),
                     "expected a metric [3");
  EXPECT_THROWS_WITH(ridge.held_out_error(RidgeStatistics({1, 12, 3, 6}), {0.1}), "got none");
}

TEST(RidgeStatistics, PartsMergeToTheWholeAndSurviveAFile) {
  const Golden golden;
  const at::Tensor features = golden["features"], targets = golden["targets"];
  RidgeStatistics first({1, 12, 3, 6}), second({1, 12, 3, 6});
  first.add(features.narrow(1, 0, 100), targets.narrow(1, 0, 100));
  second.add(features.narrow(1, 100, 200), targets.narrow(1, 100, 200));
  first.merge(second);
  const TemporaryFolder folder;
  write_safetensors(folder.file("sums.safetensors"), first.tensors());
  const RidgeStatistics read =
      RidgeStatistics::from_file(SafetensorsFile::open(folder.file("sums.safetensors")));
  EXPECT_EQ(read.num_tokens(), 300);
  const RidgeStatistics whole = golden.statistics();
  for (size_t i = 0; i < whole.tensors().size(); ++i) {
    EXPECT_TRUE(at::allclose(read.tensors()[i].tensor, whole.tensors()[i].tensor, 1e-12));
  }
}

TEST(RidgeStatistics, RefusesWhatDoesNotFit) {
  RidgeStatistics sums({1, 4, 2, 3});
  EXPECT_THROWS_WITH(sums.add(at::zeros({1, 5, 3}), at::zeros({2, 5, 3})),
                     "expected features [1, T, 4]");
  EXPECT_THROWS_WITH(sums.add(at::zeros({1, 5, 4}), at::zeros({2, 6, 3})), "and targets [2, T, 3]");
  EXPECT_THROWS_WITH(sums.merge(RidgeStatistics({1, 5, 2, 3})), "one pair and one layer map");
  const TemporaryFolder folder;
  std::vector<NamedTensor> tensors = sums.tensors();
  tensors[1].tensor = at::zeros({1, 4, 5}, at::kDouble);
  write_safetensors(folder.file("odd.safetensors"), tensors);
  EXPECT_THROWS_WITH(
      RidgeStatistics::from_file(SafetensorsFile::open(folder.file("odd.safetensors"))),
      "expected feature_products of shape [1, 4, 4]");
  tensors.erase(tensors.begin() + 3);
  write_safetensors(folder.file("less.safetensors"), tensors);
  EXPECT_THROWS_WITH(
      RidgeStatistics::from_file(SafetensorsFile::open(folder.file("less.safetensors"))),
      "feature_sums");
}

}  // namespace
}  // namespace kvalign
