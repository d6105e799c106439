// Bets, and how capital moves between them. See betting_martingale.h.
#include "betting_martingale.h"

#include <algorithm>
#include <cmath>

namespace kvalign {
namespace {

std::array<double, BettingMartingale::kNumBets> factors_at(double p) {
  const double shift = 2 * p - 1;
  const double spread = 6 * p * p - 6 * p + 1;
  return {1,          1 - shift,      1 - shift / 2,  1 + shift / 2, 1 + shift,
          1 - spread, 1 - spread / 2, 1 + spread / 2, 1 + spread};
}

}  // namespace

BettingMartingale::BettingMartingale() {
  for (Jumper& jumper : jumpers_) jumper.parts.fill(1.0 / kNumBets);
}

void BettingMartingale::bet(double p) {
  const std::array<double, kNumBets> factors = factors_at(p);
  for (size_t i = 0; i < kNumShares; ++i) {
    Jumper& jumper = jumpers_[i];
    double total = 0;
    for (size_t k = 0; k < kNumBets; ++k) {
      jumper.parts[k] = ((1 - kShares[i]) * jumper.parts[k] + kShares[i] / kNumBets) * factors[k];
      total += jumper.parts[k];
    }
    for (double& part : jumper.parts) part /= total;
    jumper.log_capital += std::log(total);
  }
}

double BettingMartingale::log10_capital() const {
  double largest = jumpers_[0].log_capital;
  for (const Jumper& jumper : jumpers_) largest = std::max(largest, jumper.log_capital);
  double sum = 0;
  for (const Jumper& jumper : jumpers_) sum += std::exp(jumper.log_capital - largest);
  return (largest + std::log(sum / kNumShares)) / std::log(10.0);
}

}  // namespace kvalign
