// Are requests still like the data that the projector was tested on? A test that looks after every
// request and still has a false-alarm rate that holds: a conformal test martingale.
//
// Each request's score gets a p-value: its rank among the reference's scores and those of the
// round's requests so far, itself included, equal scores in random order. If all of these are
// exchangeable (independent draws from one distribution are), the p-values are independent and
// uniform, exactly, for any size of the reference and any number of requests (Vovk, Nouretdinov and
// Gammerman, "Testing exchangeability on-line", ICML 2003). A gambler bets against that, and by
// Ville's inequality his capital reaches 1 / alpha in a round with probability at most alpha.
//
// Ranks among the reference alone would not do: it is finite, so the p-values of all requests lean
// the same way with it, and enough of them raise an alarm however good it is.
//
// A round ends after `round_requests` requests; the next begins with the reference alone and a
// capital of 1. So memory is bounded, requests that have drifted do not become the norm for good,
// and at most alpha false alarms a round are expected, however long the server runs. Rounds share
// their reference: false alarms, if any, come in clusters. The probability is over reference and
// requests together. Requests that depend on one another (of one conversation, say) are not
// exchangeable, and an alarm may say just that.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/monitor/drift_options.h"

namespace kvalign {

struct KVALIGN_API DriftState {
  int64_t requests = 0;         ///< of this round
  int64_t finished_rounds = 0;  ///< before it
  int64_t alarms = 0;           ///< rounds with an alarm, this one included
  /// In this round or the one before it: an alarm ends when a whole round went by without one.
  bool alarm = false;
  double log10_martingale = 0;  ///< the gambler's capital now, to base 10
  double log10_maximum = 0;     ///< its largest in this round: alarm at log10(1 / alpha)
  /// min(1, 1 / maximum), which is at most u with probability at most u, whenever one looks.
  double p_value() const;
};

/// Not for several threads at once.
class KVALIGN_API DriftTest {
 public:
  /// `reference` holds one score for each held-out sequence, in any order. With 400 normal ones,
  /// 500 requests like them and alpha = 0.001, a shift by a standard deviation raised the alarm
  /// within 80 requests in 95 of 100 simulations, one by five within 25. Drifted requests soon
  /// outnumber a reference of 60, and such a shift from the first request on may go unseen.
  /// Throws std::invalid_argument for an empty reference or a number in it that is not finite, and
  /// for options out of their limits.
  DriftTest(const std::vector<double>& reference, const DriftOptions& options);
  ~DriftTest();
  DriftTest(DriftTest&&) noexcept;
  DriftTest& operator=(DriftTest&&) noexcept;

  /// A request's score, in the reference's units; infinite ones rank so, and NaN, which no good
  /// input has, as the largest. Returns its conformal p-value: small for a large score.
  double observe(double score);

  const DriftState& state() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvalign
