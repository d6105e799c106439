// Bounds A to D of one query's attention output. See attention_bound.h.
#include "kvalign/bounds/attention_bound.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "kvalign/bounds/softmax_bound.h"
#include "kvalign/bounds/spectral_norm.h"

namespace kvalign {
namespace {

// Up to here the diameter is that of all pairs; beyond, twice the radius around the mean.
constexpr Eigen::Index kMostTokensForPairs = 256;

void check_head(const AttentionHead& head, const HeadPerturbation& perturbation) {
  const Eigen::Index tokens = head.keys.rows(), head_dim = head.query.size();
  check(tokens > 0 && head_dim > 0 && head.keys.cols() == head_dim &&
            head.values.rows() == tokens && perturbation.key_norms.size() == tokens &&
            perturbation.value_norms.size() == tokens,
        "attention_head_bound: expected keys [T, ", head_dim,
        "] and as many values and norms of moves, got keys ", tokens, " x ", head.keys.cols(),
        ", values of ", head.values.rows(), " tokens, ", perturbation.key_norms.size(), " and ",
        perturbation.value_norms.size(), " norms");
  check(head.query.allFinite() && head.keys.allFinite() && head.values.allFinite(),
        "attention_head_bound: expected finite queries, keys and values, got NaN or infinity");
  check(perturbation.query_norm >= 0 && (perturbation.key_norms.array() >= 0).all() &&
            (perturbation.value_norms.array() >= 0).all(),
        "attention_head_bound: expected norms of moves >= 0, got one below 0 or NaN");
  check(!perturbation.moved_values || (perturbation.moved_values->rows() == tokens &&
                                       perturbation.moved_values->cols() == head.values.cols() &&
                                       perturbation.moved_values->allFinite()),
        "attention_head_bound: expected finite moved values of the shape of values, ", tokens,
        " x ", head.values.cols());
}

// How far values lie apart: the diameter, and the standard deviation under the weights in the
// direction where it is largest.
struct Spread {
  Certified diameter{0.0}, deviation{0.0};
};

Spread spread_of(const Eigen::MatrixXd& values, const Eigen::VectorXd& weights) {
  // Around any centre the second moments are at least the variances: the centre may be rounded.
  const Eigen::RowVectorXd centre = weights.transpose() * values / weights.sum();
  const Eigen::MatrixXd deviations = (values.rowwise() - centre) * raised(1.0, 2);
  // Subtracting rounds relative to the difference, once.
  double radius = 0;
  for (Eigen::Index j = 0; j < values.rows(); ++j) {
    radius = std::max(radius, norm_upper(deviations.row(j).transpose()));
  }
  double diameter = raised(2 * radius, 1);
  if (values.rows() <= kMostTokensForPairs) {
    double largest = 0;
    for (Eigen::Index j = 0; j < values.rows(); ++j) {
      for (Eigen::Index other = 0; other < j; ++other) {
        largest = std::max(largest, (values.row(j) - values.row(other)).squaredNorm());
      }
    }
    const double pairs = raised(std::sqrt(largest), static_cast<double>(values.cols()) + 4);
    diameter = std::min(diameter, pairs);
  }
  const Eigen::MatrixXd weighted = weights.cwiseSqrt().asDiagonal() * deviations;
  return {Certified(diameter), spectral_norm_gram(weighted * raised(1.0, 2))};
}

Spread spread_of_moved(const Spread& spread, const Eigen::VectorXd& weights,
                       const Eigen::VectorXd& value_norms) {
  const Certified largest(value_norms.maxCoeff());
  const double mean_square = weights.dot(value_norms.cwiseAbs2());
  const Certified moved(raised(std::sqrt(mean_square), static_cast<double>(weights.size()) + 4));
  return {spread.diameter + largest + largest, spread.deviation + moved};
}

// Scores in float64 and a bound of their error.
Eigen::VectorXd scores_of(const AttentionHead& head, double* error) {
  const auto head_dim = static_cast<double>(head.query.size());
  const Eigen::VectorXd magnitudes = head.keys.cwiseAbs() * head.query.cwiseAbs();
  *error = raised(rounding_gamma(head_dim + 4) * magnitudes.maxCoeff() / std::sqrt(head_dim),
                  head_dim + 4);
  return head.keys * head.query / std::sqrt(head_dim);
}

// Of the tokens but the heaviest, summed.
double rest_of(const Eigen::VectorXd& weights) {
  Eigen::Index heaviest = 0;
  weights.maxCoeff(&heaviest);
  double rest = 0;
  for (Eigen::Index j = 0; j < weights.size(); ++j) rest += j == heaviest ? 0 : weights[j];
  return raised(rest, static_cast<double>(weights.size()));
}

double growth_factor(double tau) {
  return tau == 0 ? 1 : raised(std::expm1(2 * tau) / (2 * tau), 12);
}

}  // namespace

Eigen::VectorXd score_radii(const AttentionHead& head, const HeadPerturbation& perturbation) {
  const double query = norm_upper(head.query);
  const double root = std::sqrt(static_cast<double>(head.query.size()));
  Eigen::VectorXd radii(head.keys.rows());
  for (Eigen::Index j = 0; j < radii.size(); ++j) {
    const double key_move = perturbation.key_norms[j];
    const double of_key = query * key_move;
    const double of_query =
        perturbation.query_norm * (norm_upper(head.keys.row(j).transpose()) + key_move);
    radii[j] = raised((of_key + of_query) / root, 8);
  }
  return radii;
}

HeadBound attention_head_bound(const AttentionHead& head, const HeadPerturbation& perturbation) {
  check_head(head, perturbation);
  const auto tokens = static_cast<double>(head.keys.rows());
  const Eigen::VectorXd radii = score_radii(head, perturbation);
  const Eigen::VectorXd& moves = perturbation.value_norms;
  double score_error = 0;
  const Eigen::VectorXd scores = scores_of(head, &score_error);
  const Eigen::VectorXd weights = softmax_upper(scores, score_error);
  const double tau = radii.maxCoeff();

  const Certified shifted = total_variation_bound(tau, rest_of(weights));
  const Certified mean_move(raised(weights.dot(moves), tokens));
  const Certified grown = Certified(raised(std::exp(2 * tau), 8)) * mean_move;
  const Certified range(raised(moves.maxCoeff() - moves.minCoeff(), 1));
  const Certified best_move =
      tighter(tighter(mean_move + shifted * range, grown), Certified(moves.maxCoeff()));
  const Certified score_moves =
      Certified(growth_factor(tau)) *
      Certified(raised(std::sqrt(weights.dot(radii.cwiseAbs2())), tokens + 4));

  const Spread spread = spread_of(head.values, weights);
  Spread moved = spread_of_moved(spread, weights, moves);
  if (perturbation.moved_values) {
    const Spread known = spread_of(*perturbation.moved_values, weights);
    moved = {tighter(moved.diameter, known.diameter), tighter(moved.deviation, known.deviation)};
  }
  HeadBound result{.a = best_move + score_moves * spread.deviation,
                   .b = mean_move + shifted * moved.diameter,
                   .c = mean_move + score_moves * moved.deviation,
                   .d = best_move + shifted * spread.diameter};
  const Certified bounds[] = {result.a, result.b, result.c, result.d};
  const auto* least = std::min_element(std::begin(bounds), std::end(bounds));
  result.bound = *least;
  result.binding = static_cast<AttentionBound>(least - bounds);
  return result;
}

}  // namespace kvalign
