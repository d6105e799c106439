// Figures of the bounds against tests/golden/bounds_v1.json, which make_bounds.py computed by other
// means (numpy, scipy, mpmath). Certified figures may exceed them by their rounding terms alone.
#include <fstream>
#include <nlohmann/json.hpp>

#include "kvalign/bounds/gelu_bound.h"
#include "kvalign/bounds/seed_formula.h"
#include "tests/bounds/true_bounds.h"

namespace kvalign {
namespace {

using nlohmann::json;

const json& golden() {
  static const json read = [] {
    std::ifstream file(KVALIGN_SOURCE_DIR "/tests/golden/bounds_v1.json");
    return json::parse(file);
  }();
  return read;
}

Eigen::VectorXd vector_of(const json& numbers) {
  const auto values = numbers.get<std::vector<double>>();
  return Eigen::Map<const Eigen::VectorXd>(values.data(), static_cast<Eigen::Index>(values.size()));
}
Eigen::MatrixXd matrix_of(const json& rows) {
  Eigen::MatrixXd matrix(rows.size(), rows.at(0).size());
  for (size_t row = 0; row < rows.size(); ++row) matrix.row(row) = vector_of(rows.at(row));
  return matrix;
}

// Not below the exact figure by more than the oracle's own rounding, nor above it by more than
// S3's.
void expect_certified(Certified certified, double figure) {
  EXPECT_GE(certified.value(), figure * (1 - 1e-14));
  EXPECT_LE(certified.value(), figure * (1 + 1e-9));
}

TEST(GoldenBounds, HalfGapsOfEveryCode) {
  for (const Fp8Format format : testing::kFormats) {
    const json& gaps = golden()["half_gaps"][format == Fp8Format::kE4M3FN ? "e4m3fn" : "e5m2"];
    ASSERT_EQ(gaps.size(), fp8_largest_code(format) + 1);
    for (size_t code = 0; code < gaps.size(); ++code) {
      EXPECT_EQ(fp8_half_gap(static_cast<uint8_t>(code), format), gaps[code]) << code;
      EXPECT_EQ(fp8_half_gap(static_cast<uint8_t>(code | 0x80), format), gaps[code]) << code;
    }
  }
}

TEST(GoldenBounds, Chords) {
  for (const json& row : golden()["chords"]) {
    expect_certified(norm_chord_bound(row[0], row[1], row[2]), row[3]);
  }
}

TEST(GoldenBounds, SpectralNorms) {
  for (const json& row : golden()["spectral"]) {
    expect_certified(spectral_norm_upper(matrix_of(row[0])), row[1]);
  }
}

TEST(GoldenBounds, GeluSlopes) {
  for (const json& row : golden()["gelu_slopes"]) {
    expect_certified(gelu_slope_bound(row[0], row[1]), row[2]);
  }
}

TEST(GoldenBounds, Projectors) {
  for (const json& row : golden()["linear"]) {
    OutputNormParameters norm{.epsilon = row["epsilon"], .gamma = vector_of(row["gamma"])};
    if (row["kind"] == "layer") norm.kind = OutputNorm::kLayer;
    if (row["kind"] == "rms") norm.kind = OutputNorm::kRms;
    const LinearCertificate certificate(matrix_of(row["weight"]), vector_of(row["bias"]), norm);
    expect_certified(certificate.bound(vector_of(row["decoded"]), vector_of(row["half_widths"])),
                     row["bound"]);
  }
  const json& row = golden()["mlp"];
  const MlpCertificate certificate({matrix_of(row["hidden_weight"]),
                                    vector_of(row["hidden_bias"]),
                                    matrix_of(row["output_weight"]),
                                    {}},
                                   {});
  expect_certified(certificate.bound(vector_of(row["decoded"]), vector_of(row["half_widths"])),
                   row["bound"]);
}

TEST(GoldenBounds, AttentionHeads) {
  for (const json& row : golden()["attention"]) {
    const HeadBound bound = attention_head_bound(
        {vector_of(row["query"]), matrix_of(row["keys"]), matrix_of(row["values"])},
        {row["query_norm"], vector_of(row["key_norms"]), vector_of(row["value_norms"]), {}});
    expect_certified(bound.a, row["a"]);
    expect_certified(bound.b, row["b"]);
    expect_certified(bound.c, row["c"]);
    expect_certified(bound.d, row["d"]);
    const double least =
        std::min({bound.a.value(), bound.b.value(), bound.c.value(), bound.d.value()});
    EXPECT_EQ(bound.bound.value(), least);
    const Certified each[] = {bound.a, bound.b, bound.c, bound.d};
    EXPECT_EQ(each[static_cast<int>(bound.binding)].value(), least);
  }
}

TEST(GoldenBounds, RankFloors) {
  const json& row = golden()["rank_floor"];
  for (int64_t dimensions = 0; dimensions <= 5; ++dimensions) {
    const double tail = row["tails"][static_cast<size_t>(dimensions)];
    EXPECT_NEAR(rank_floor(matrix_of(row["covariance"]), dimensions).value(), tail, 1e-11);
  }
}

TEST(GoldenBounds, Means) {
  const json& row = golden()["means"];
  const auto samples = row["samples"].get<std::vector<double>>();
  const auto upper = [&](MeanMethod method) {
    return mean_upper(samples, {0, 1}, row["confidence"], method).value();
  };
  EXPECT_NEAR(upper(MeanMethod::kHoeffding), row["hoeffding"], 1e-12);
  EXPECT_NEAR(upper(MeanMethod::kEmpiricalBernstein), row["bernstein"], 1e-12);
  EXPECT_NEAR(upper(MeanMethod::kBetting), row["betting"], 1e-9);
}

TEST(GoldenBounds, RanksAndRates) {
  for (const json& row : golden()["tolerance"]) {
    const std::optional<int64_t> rank = tolerance_rank(row[0], row[1], row[2]);
    EXPECT_EQ(rank ? json(*rank) : json(nullptr), row[3]) << row;
  }
  for (const json& row : golden()["rates"]) {
    EXPECT_NEAR(rate_upper({row[0], row[1]}, 0.95).value(), row[2], 1e-11) << row;
    EXPECT_NEAR(rate_lower({row[0], row[1]}, 0.95).value(), row[3], 1e-11) << row;
  }
  const json& pair = golden()["degradation"];
  EXPECT_NEAR(degradation_upper({pair[2], pair[0], pair[1]}, 0.95).value(), pair[3], 1e-11);
}

TEST(GoldenBounds, SeedFormula) {
  const SeedFormula seed = seed_formula({});
  EXPECT_NEAR(seed.value, golden()["seed_formula"], 1e-12);
  EXPECT_NEAR(seed.value, 5.76, 0.005);
  EXPECT_NE(seed.why_no_bound.find("no bound"), std::string_view::npos);
}

}  // namespace
}  // namespace kvalign
