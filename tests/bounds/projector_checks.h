// Trials of projector certificates: each projector once more in wide arithmetic, and a search for
// the worst corner of the box that codes leave open: by the signs of the distance's gradient, as in
// Goodfellow et al., arXiv 1412.6572, repeated, then one coordinate at a time.
#pragma once

#include <functional>

#include "kvalign/bounds/low_rank_certificate.h"
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
using ProjectorBound = std::function<double(const ProjectorCase&)>;

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

// x_hat + e with e exactly at the box's corners.
inline WideVector corner(const ProjectorCase& example, const Eigen::VectorXd& signs) {
  WideVector input = widened(example.decoded);
  for (size_t i = 0; i < input.size(); ++i) {
    input[i] += static_cast<Wide>(example.half_widths[i]) * signs[i];
  }
  return input;
}

// How far the output moves at a corner.
inline Wide distance_at(const ProjectorCase& example, const WideVector& centre,
                        const Eigen::VectorXd& signs) {
  return norm(difference(wide_project(example, corner(example, signs)), centre));
}

inline Wide climb_coordinates(const ProjectorCase& example, const WideVector& centre,
                              Eigen::VectorXd signs) {
  Wide reached = distance_at(example, centre, signs);
  for (bool improved = true; improved;) {
    improved = false;
    for (Eigen::Index i = 0; i < signs.size(); ++i) {
      signs[i] = -signs[i];
      const Wide other = distance_at(example, centre, signs);
      improved |= other > reached;
      if (other > reached) {
        reached = other;
      } else {
        signs[i] = -signs[i];
      }
    }
  }
  return reached;
}

inline Wide attack(const ProjectorCase& example, Random& random) {
  const WideVector centre = wide_project(example, widened(example.decoded));
  const Eigen::Index size = example.decoded.size();
  Eigen::VectorXd signs = Eigen::VectorXd::NullaryExpr(size, [&] { return random.sign(); });
  Wide best = climb_coordinates(example, centre, signs);
  for (int step = 0; step < 3; ++step) {
    const Wide here = distance_at(example, centre, signs);
    Eigen::VectorXd gradient(size);
    for (Eigen::Index i = 0; i < size; ++i) {
      Eigen::VectorXd nudged = signs;
      nudged[i] *= 1 - 1e-6;
      const Wide change = (here - distance_at(example, centre, nudged)) * signs[i];
      gradient[i] = change < 0 ? -1 : 1;
    }
    signs = gradient;
    best = std::max(best, distance_at(example, centre, signs));
  }
  return best;
}

// For sizes of real projectors, linear ones: the same search before the norm, in float64.
inline Wide attack_linear(const ProjectorCase& example, Random& random) {
  const Eigen::MatrixXd centred =
      example.norm.kind == OutputNorm::kLayer
          ? (example.weight.rowwise() - example.weight.colwise().mean()).eval()
          : example.weight;
  const WideVector centre = wide_project(example, widened(example.decoded));
  Eigen::VectorXd signs =
      Eigen::VectorXd::NullaryExpr(example.decoded.size(), [&] { return random.sign(); });
  for (int step = 0; step < 20; ++step) {
    const Eigen::VectorXd gradient =
        centred.transpose() * (centred * signs.cwiseProduct(example.half_widths));
    signs = gradient.unaryExpr([](double value) { return value < 0 ? -1.0 : 1.0; });
  }
  return distance_at(example, centre, signs);
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

// 96 features to 384 outputs with LayerNorm, as codes of E4M3FN leave them.
inline Tightness check_wide_projector(const ProjectorBound& bound, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  ProjectorCase example;
  example.weight = random.matrix(384, 96) / std::sqrt(96.0);
  example.bias = Eigen::VectorXd::Zero(384);
  example.norm = {.kind = OutputNorm::kLayer, .epsilon = 1e-5, .gamma = Eigen::VectorXd::Ones(384)};
  while (result.trials() < trials) {
    example.decoded = Eigen::VectorXd::NullaryExpr(96, [&] { return random.uniform(-1, 1); });
    example.half_widths = example.decoded.cwiseAbs() / 17;
    result.add(attack_linear(example, random), bound(example));
  }
  return result;
}

inline Tightness check_projector(const std::function<ProjectorCase(Random&)>& make,
                                 const ProjectorBound& bound, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  while (result.trials() < trials) {
    const ProjectorCase example = make(random);
    result.add(attack(example, random), bound(example));
  }
  return result;
}

}  // namespace kvalign::testing
