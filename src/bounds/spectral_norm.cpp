// Spectral-norm bounds from Gram matrices. See spectral_norm.h.
#include "kvalign/bounds/spectral_norm.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"

namespace kvalign {
namespace {

constexpr int kSquarings = 10;

// A or its transpose with largest magnitude in [0.5, 1), and its Gram matrix.
struct ScaledGram {
  double scale = 1;       // A times this is what G is made of
  Eigen::MatrixXd gram;   // [n, n], symmetric
  double frobenius2 = 0;  // at least |scaled A|_F^2
  double rounding = 0;    // at least |gram - exact|_2
};

ScaledGram scaled_gram(const Eigen::MatrixXd& matrix) {
  check(matrix.allFinite(), "spectral norm: expected finite weights, got NaN or infinity in a ",
        matrix.rows(), " x ", matrix.cols(), " matrix. Did training diverge?");
  ScaledGram result;
  const double largest = matrix.size() == 0 ? 0 : matrix.cwiseAbs().maxCoeff();
  if (largest == 0) return result;
  result.scale = power_of_two_scale(largest);
  const Eigen::MatrixXd scaled = matrix * result.scale;
  const Eigen::MatrixXd gram = matrix.rows() < matrix.cols()
                                   ? Eigen::MatrixXd(scaled * scaled.transpose())
                                   : Eigen::MatrixXd(scaled.transpose() * scaled);
  result.gram = (gram + gram.transpose()) / 2;
  const double frobenius = frobenius_upper(scaled);
  result.frobenius2 = raised(frobenius * frobenius, 1);
  // |A|^T |A| has a spectral norm of at most |A|_F^2; 4 u covers the symmetrisation.
  const auto terms = static_cast<double>(std::max(matrix.rows(), matrix.cols()));
  result.rounding = raised((rounding_gamma(terms + 2) + 4 * kUnitRoundoff) * result.frobenius2, 4);
  return result;
}

Certified from_square(double square, const ScaledGram& gram) {
  return Certified(raised(std::sqrt(raised(square + gram.rounding, 2)), 2) / gram.scale);
}

Certified bound_of_sums(const ScaledGram& gram) {
  if (gram.gram.size() == 0) return Certified(0);
  const double sums = gram.gram.cwiseAbs().rowwise().sum().maxCoeff();
  const double largest_row = raised(sums, static_cast<double>(gram.gram.rows()));
  return from_square(std::min(largest_row, frobenius_upper(gram.gram)), gram);
}

Certified bound_of_powers(const ScaledGram& gram) {
  if (gram.gram.size() == 0) return Certified(0);
  const auto size = static_cast<double>(gram.gram.rows());
  Eigen::MatrixXd power = gram.gram;
  std::vector<double> scales, roundings;
  for (int squaring = 0; squaring < kSquarings; ++squaring) {
    const double scale = power_of_two_scale(power.norm());
    power *= scale;
    const double frobenius = frobenius_upper(power);
    scales.push_back(scale);
    roundings.push_back(raised(rounding_gamma(size + 2) * frobenius * frobenius, 3));
    power = (power.transpose() * power).eval();
  }
  double bound = frobenius_upper(power);
  for (int squaring = kSquarings - 1; squaring >= 0; --squaring) {
    bound = raised(std::sqrt(raised(bound + roundings[squaring], 2)), 2) / scales[squaring];
  }
  return from_square(bound, gram);
}

}  // namespace

Certified spectral_norm_gram(const Eigen::MatrixXd& matrix) {
  return bound_of_sums(scaled_gram(matrix));
}

Certified spectral_norm_gram_iteration(const Eigen::MatrixXd& matrix) {
  return bound_of_powers(scaled_gram(matrix));
}

Certified spectral_norm_upper(const Eigen::MatrixXd& matrix) {
  const ScaledGram gram = scaled_gram(matrix);
  const Eigen::Index size = gram.gram.rows();
  if (size == 0) return Certified(0);
  const auto n = static_cast<double>(size);
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(gram.gram, Eigen::EigenvaluesOnly);
  const double estimate = std::max(solver.eigenvalues()[size - 1], 0.0);
  for (double excess = 1e-10; excess < 1; excess *= 10) {
    const double mu = estimate * (1 + excess);
    Eigen::MatrixXd shifted = -gram.gram;
    shifted.diagonal().array() += mu;
    if (Eigen::LLT<Eigen::MatrixXd>(shifted).info() != Eigen::Success) continue;
    // Backward error of the factorisation, gamma_{n+1} trace(mu I - G), twice for its blocks and
    // reciprocals; then the rounding of mu I - G.
    const double backward =
        2 * rounding_gamma(n + 2) * n * mu + 4 * kUnitRoundoff * (mu + gram.frobenius2);
    return tighter(from_square(mu + raised(backward, 8), gram), bound_of_sums(gram));
  }
  return bound_of_powers(gram);
}

CentredMatrix centre_columns(const Eigen::MatrixXd& weight) {
  CentredMatrix result;
  if (weight.rows() == 0) return result;
  const auto rows = static_cast<double>(weight.rows());
  result.matrix = weight.rowwise() - weight.colwise().mean();
  const Eigen::VectorXd magnitudes = weight.cwiseAbs().colwise().mean();
  const double rounding = kUnitRoundoff * frobenius_upper(result.matrix) +
                          rounding_gamma(rows + 2) * norm_upper(magnitudes) * std::sqrt(rows);
  result.rounding = Certified(raised(rounding, rows + 8));
  return result;
}

}  // namespace kvalign
