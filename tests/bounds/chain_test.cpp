// The chain as a server uses it: codes, boxes, a projector's certificate, the pooled decision. And
// the small pieces beside it: floors, amplification, the model of the error.
#include "kvalign/bounds/quantisation_model.h"
#include "tests/bounds/true_bounds.h"

namespace kvalign {
namespace {

using namespace testing;

// Tokens around class means, so that the certificate is not vacuous.
TEST(Chain, NoCertifiedDecisionDisagrees) {
  Random random(1);
  const Eigen::Index features = 24, outputs = 48, classes = 4, tokens = 6;
  const Eigen::MatrixXd weight = random.matrix(outputs, features);
  const OutputNormParameters norm{OutputNorm::kLayer, 1e-5, Eigen::VectorXd::Ones(outputs)};
  const LinearCertificate certificate(weight, {}, norm);
  const Eigen::MatrixXd means = random.matrix(classes, features);
  const auto project = [&](const Eigen::VectorXd& input) {
    const Eigen::ArrayXd output = weight * input;
    const Eigen::ArrayXd centred = output - output.mean();
    return Eigen::VectorXd(centred / std::sqrt(centred.square().mean() + 1e-5));
  };
  Eigen::MatrixXd head_weight(classes, outputs);
  for (Eigen::Index i = 0; i < classes; ++i) head_weight.row(i) = project(means.row(i));
  const LinearHead head(head_weight, {});

  int certified = 0, disagreed = 0, certified_and_disagreed = 0;
  constexpr int kSamples = 400;
  for (int sample = 0; sample < kSamples; ++sample) {
    const Fp8Layout layout{static_cast<size_t>(tokens), 1, static_cast<size_t>(features),
                           ScaleGranularity::kToken,
                           sample % 2 ? Fp8Format::kE4M3FN : Fp8Format::kE5M2};
    std::vector<float> values(static_cast<size_t>(tokens * features)), scales(tokens);
    std::vector<float> decoded(values.size());
    std::vector<uint8_t> codes(values.size());
    const double strength = random.uniform(0, 2);
    for (size_t i = 0; i < values.size(); ++i) {
      const double mean = means(sample % classes, static_cast<Eigen::Index>(i) % features);
      values[i] = static_cast<float>(strength * mean + random.normal());
    }
    ASSERT_TRUE(quantise_fp8(layout, values, scales, codes).ok());
    ASSERT_TRUE(dequantise_fp8(layout, codes, scales, decoded).ok());
    const CodeBounds box = certify_codes(layout, codes, scales, ScaleOrigin::kOwnAmax);
    const auto token_of = [&](const std::vector<float>& numbers, Eigen::Index token) {
      return Eigen::VectorXd(
          Eigen::Map<const Eigen::VectorXf>(numbers.data() + token * features, features)
              .cast<double>());
    };
    Eigen::VectorXd sent = Eigen::VectorXd::Zero(outputs), exact = sent;
    std::vector<Certified> bounds;
    for (Eigen::Index token = 0; token < tokens; ++token) {
      sent += project(token_of(decoded, token)) / tokens;
      exact += project(token_of(values, token)) / tokens;
      bounds.push_back(certificate.bound(token_of(decoded, token),
                                         box.bounds.segment(token * features, features)));
    }
    const DecisionMargin margin = head.margin(sent);
    const bool is_certified = margin.certifies(mean_pooled_bound(bounds));
    const bool disagrees = head.margin(exact).decision != margin.decision;
    certified += is_certified;
    disagreed += disagrees;
    certified_and_disagreed += is_certified && disagrees;
  }
  std::printf("[ chain    ] %d samples: %d certified, %d disagreed\n", kSamples, certified,
              disagreed);
  EXPECT_EQ(certified_and_disagreed, 0);
  EXPECT_LE(disagreed, kSamples - certified);
  EXPECT_GT(certified, kSamples / 10);
}

// Two keys that a large query tells apart, moved by a thousandth: no constant of the number of
// tokens bounds this, and the certificate does.
TEST(Chain, AmplificationHasNoGlobalConstant) {
  AttentionHead head{.query = Eigen::Vector2d(0, 4e5), .keys = {}, .values = {}};
  head.keys = Eigen::MatrixXd{{1, 0}, {1, 1e-3}};
  head.values = Eigen::MatrixXd{{1, 0}, {-1, 0}};
  const Eigen::MatrixXd moved = Eigen::MatrixXd{{1, 1e-3}, {1, 0}};
  const WideVector before = wide_attention(head.query, head.keys, head.values);
  const WideVector after = wide_attention(head.query, moved, head.values);
  const Measured output(static_cast<double>(norm(before)));
  const Measured relative((moved - head.keys).norm() / head.keys.norm());
  const Measured measured = measured_amplification(
      Measured(static_cast<double>(norm(difference(after, before)))), output, relative);
  const HeadBound bound = attention_head_bound(
      head, {0, row_distances(head.keys, moved), Eigen::VectorXd::Zero(2), {}});
  EXPECT_GT(measured.value(), 1000);
  EXPECT_TRUE(holds(measured, certified_amplification(bound.bound, output, relative)));
}

TEST(Chain, BoxesWithoutGramMatrixAreStillBounded) {
  Random random(2);
  const Eigen::MatrixXd weight = random.matrix(6, 5);
  const Eigen::VectorXd box = random.vector(5).cwiseAbs();
  const LinearMap with(weight, {}), without(weight, {}, {.largest_gram = 4});
  EXPECT_LE(with.box_bound(box), without.box_bound(box));
  EXPECT_EQ(without.box_bound(box).value(), without.ball_bound(Certified(norm_upper(box))).value());
}

TEST(Chain, CacheThroughALatent) {
  Random random(3);
  const Eigen::MatrixXd encoder = random.matrix(2, 5), decoder = random.matrix(6, 2);
  const LowRankCertificate certificate(encoder, decoder);
  ProjectorCase example;
  example.weight = decoder * encoder;
  example.bias = Eigen::VectorXd::Zero(6);
  fill_token(example, random, 5);
  EXPECT_LE(attack(example, random), certificate.cache_bound(example.half_widths).value());
}

TEST(Chain, Floors) {
  EXPECT_NEAR(norm_floor(Eigen::Vector3d(5, 2, 3), 4).value(), (3 + 0 + 1) / 3.0, 1e-14);
  EXPECT_LE(norm_floor(Eigen::Vector3d(5, 2, 3), 4).value(), 4.0 / 3);
  EXPECT_NEAR(mean_norm_from_mse(Measured(0.01), 400).value(), 2, 1e-12);
}

TEST(Chain, ModelOfTheErrorIsWhatRandomValuesShow) {
  EXPECT_NEAR(rms_model_relative(Fp8Format::kE4M3FN), 0.02654, 1e-5);
  EXPECT_NEAR(rms_model_relative(Fp8Format::kE5M2), 0.05308, 1e-5);
  Random random(4);
  double squares = 0;
  constexpr int kValues = 100000;
  for (int i = 0; i < kValues; ++i) {
    const auto value = static_cast<float>(std::exp2(random.uniform(-3, 3)));
    const uint8_t code = encode_fp8(value, Fp8Format::kE4M3FN, Fp8Overflow::kSaturate);
    squares += std::pow(decode_fp8(code, Fp8Format::kE4M3FN) / value - 1, 2);
  }
  EXPECT_NEAR(std::sqrt(squares / kValues), 0.02654, 0.0002);
  EXPECT_NEAR(rms_model_of_codes(Eigen::Vector2d(3, 4)), 5 / std::sqrt(3.0), 1e-14);
}

}  // namespace
}  // namespace kvalign
