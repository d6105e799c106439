// Random projectors of every kind with a token and its box, and each projector once more in wide
// arithmetic.
#pragma once

#include <functional>

#include "kvalign/bounds/mlp_certificate.h"
#include "kvalign/bounds/projector_certificate.h"
#include "tests/bounds/norm_checks.h"

namespace kvalign::testing {

struct ProjectorCase {
  Eigen::MatrixXd weight;  // linear part, or empty
  MlpWeights mlp;          // or empty
  Eigen::VectorXd bias;    // of the linear part
  OutputNormParameters norm;
  Eigen::VectorXd decoded, half_widths;
};

inline WideVector plus(WideVector a, const Eigen::VectorXd& b) {
  for (Eigen::Index i = 0; i < b.size(); ++i) a[i] += b[i];
  return a;
}

inline WideVector wide_project(const ProjectorCase& example, const WideVector& input) {
  WideVector output;
  if (example.weight.size() > 0) output = plus(times(example.weight, input), example.bias);
  if (example.mlp.hidden_weight.size() > 0) {
    WideVector hidden = plus(times(example.mlp.hidden_weight, input), example.mlp.hidden_bias);
    for (Wide& unit : hidden) {
      const auto x = static_cast<long double>(unit);
      unit = unit * (std::erfc(-x / std::sqrt(2.0L)) / 2);
    }
    WideVector added = plus(times(example.mlp.output_weight, hidden), example.mlp.output_bias);
    if (output.empty()) output.resize(added.size(), 0);
    for (size_t i = 0; i < added.size(); ++i) output[i] += added[i];
  }
  if (example.norm.kind == OutputNorm::kLayer) output = wide_without_mean(output);
  if (example.norm.kind != OutputNorm::kNone) {
    output = wide_normalised(output, example.norm.epsilon);
    for (size_t i = 0; i < output.size(); ++i) output[i] *= example.norm.gamma[i];
  }
  return output;
}

inline OutputNormParameters random_norm(Random& random, Eigen::Index width) {
  const OutputNorm kinds[] = {OutputNorm::kNone, OutputNorm::kLayer, OutputNorm::kRms};
  OutputNormParameters norm{
      .kind = random.choose(kinds), .epsilon = random.power(-6, 0), .gamma = {}};
  if (norm.kind != OutputNorm::kNone) norm.gamma = random.vector(width);
  return norm;
}

inline void fill_token(ProjectorCase& example, Random& random, Eigen::Index features) {
  example.decoded = random.vector(features);
  const double relative = random.power(-6, -0.5);
  example.half_widths = (example.decoded.cwiseAbs() * relative).array() + relative * 0.01;
}

// Of a linear map, with means far from zero: LayerNorm removes what RMSNorm keeps.
inline ProjectorCase random_linear(Random& random) {
  ProjectorCase example;
  const Eigen::Index features = 1 + random.below(6), outputs = 2 + random.below(8);
  example.weight = random.matrix(outputs, features).array() + 2 * random.normal();
  example.bias = random.vector(outputs).array() + 3 * random.normal();
  example.norm = random_norm(random, outputs);
  fill_token(example, random, features);
  return example;
}

inline MlpWeights random_mlp_weights(Random& random, Eigen::Index features, Eigen::Index outputs) {
  const Eigen::Index hidden = 1 + random.below(5);
  return {random.matrix(hidden, features), random.vector(hidden),
          (random.matrix(outputs, hidden).array() + random.normal()).matrix(),
          random.vector(outputs)};
}

inline ProjectorCase random_mlp(Random& random) {
  ProjectorCase example;
  const Eigen::Index features = 1 + random.below(4), outputs = 2 + random.below(5);
  example.mlp = random_mlp_weights(random, features, outputs);
  example.norm = random_norm(random, outputs);
  fill_token(example, random, features);
  if (random.below(4) == 0) {  // one unit at GELU's steepest place, where 1.1289 is attained
    example.mlp = {Eigen::MatrixXd::Ones(1, 1), Eigen::VectorXd::Zero(1),
                   Eigen::MatrixXd::Ones(2, 1), Eigen::VectorXd::Zero(2)};
    example.norm = {};
    example.decoded = Eigen::VectorXd::Constant(1, std::sqrt(2.0) * random.uniform(0.7, 1.3));
    example.half_widths = Eigen::VectorXd::Constant(1, random.power(-6, 0));
  }
  return example;
}

inline ProjectorCase random_residual_mlp(Random& random) {
  ProjectorCase example;
  const Eigen::Index features = 1 + random.below(4), outputs = 2 + random.below(5);
  example.weight = random.matrix(outputs, features);
  example.bias = random.vector(outputs);
  example.mlp = random_mlp_weights(random, features, outputs);
  fill_token(example, random, features);
  return example;
}

// `weight` is D of a low-rank map, whose latent was rounded.
inline ProjectorCase random_latent(Random& random) {
  ProjectorCase example;
  const Eigen::Index rank = 1 + random.below(4), outputs = 2 + random.below(6);
  example.weight = random.matrix(outputs, rank) * random.power(-2, 2);
  example.bias = Eigen::VectorXd::Zero(outputs);
  fill_token(example, random, rank);
  return example;
}

}  // namespace kvalign::testing
