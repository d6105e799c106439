// Trials of projector certificates: a search for the worst corner of the box that codes leave open,
// by the signs of the distance's gradient, as in Goodfellow et al., arXiv 1412.6572, repeated, then
// one coordinate at a time.
#pragma once

#include <functional>

#include "tests/bounds/projector_cases.h"

namespace kvalign::testing {

using ProjectorBound = std::function<double(const ProjectorCase&)>;

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

// Sizes of real projectors, with LayerNorm, and boxes as codes of E4M3FN leave them.
struct ProjectorSize {
  Eigen::Index features, outputs;
};
inline Tightness check_wide_projector(const ProjectorSize& size, const ProjectorBound& bound,
                                      int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  ProjectorCase example;
  example.weight =
      random.matrix(size.outputs, size.features) / std::sqrt(static_cast<double>(size.features));
  example.bias = Eigen::VectorXd::Zero(size.outputs);
  example.norm = {
      .kind = OutputNorm::kLayer, .epsilon = 1e-5, .gamma = Eigen::VectorXd::Ones(size.outputs)};
  while (result.trials() < trials) {
    example.decoded =
        Eigen::VectorXd::NullaryExpr(size.features, [&] { return random.uniform(-1, 1); });
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
