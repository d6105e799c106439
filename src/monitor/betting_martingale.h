// Capital of a gambler who bets against p-values being uniform and independent. Private to
// monitor/.
//
// Each bet multiplies capital by f(p) = 1 + e h(p), which is not negative and averages to 1 over a
// uniform p, so that capital is a martingale that starts at 1: by Ville's inequality it ever
// reaches 1 / alpha with probability at most alpha. h is 2p - 1, which wins where scores shift, or
// 6p^2 - 6p + 1, which wins where they spread or draw together (Legendre's polynomials of degree 1
// and 2), and e is one of -1, -1/2, 1/2, 1; one gambler keeps his capital. Which of the nine wins
// is not known and may change, so each moves a share of his capital to the others before every bet
// (Herbster and Warmuth 1998), and capital is divided over three such shares at the start.
// Source: the Simple and the Composite Jumper of Vovk, Petej, Nouretdinov, Ahlberg, Carlsson and
// Gammerman, "Retrain or not retrain: conformal test martingales for change-point detection",
// PMLR 152 (2021), with more bets.
#pragma once

#include <array>
#include <cstddef>

namespace kvalign {

class BettingMartingale {
 public:
  static constexpr size_t kNumBets = 9, kNumShares = 3;
  static constexpr std::array<double, kNumShares> kShares = {0.001, 0.01, 0.1};

  BettingMartingale();

  // `p` in [0, 1].
  void bet(double p);

  // Logarithm to base 10 of the capital, which itself may be out of a double's range.
  double log10_capital() const;

 private:
  struct Jumper {
    double log_capital = 0;
    std::array<double, kNumBets> parts = {};  // of the capital; they add up to 1
  };
  std::array<Jumper, kNumShares> jumpers_;
};

}  // namespace kvalign
