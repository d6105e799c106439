// How far one query's attention output o = sum_j p_j v_j moves, p = softmax(q k_j / sqrt(H)), when
// keys, values and the query move within balls. RoPE turns q and k_j by orthogonal maps: radii of
// content keys serve for rotated ones. There is no constant that serves all queries: dot-product
// attention is not Lipschitz (Kim, Papamakarios and Mnih, ICML 2021).
//
// With a_j >= |dv_j|, tau_j >= |ds_j|, tau = max tau_j, T the total variation bound, c = (e^(2 tau)
// - 1) / (2 tau), S(V) at least the spread of values under p in any one direction and a* =
// min(sum p_j a_j + T (max a - min a), max a, e^(2 tau) sum p_j a_j):
//   A  a* + c sqrt(sum p_j tau_j^2) S(V)                B  sum p_j a_j + T diam(V')
//   C  sum p_j a_j + c sqrt(sum p_j tau_j^2) S(V')      D  a* + T diam(V)
// Derivation: o' - o = sum p' dv + sum (p' - p) v = sum p dv + sum (p' - p) v'. A signed measure
// p' - p moves a mean by at most TV times the diameter; along s + t ds the mean's derivative is
// Cov(v, ds), p_j(t) <= p_j e^(2 tau t), and Cauchy-Schwarz. Derived for this project.
//
// Shapes: H head dim, T tokens that the query sees.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <optional>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct AttentionHead {
  Eigen::VectorXd query;   // [H]
  Eigen::MatrixXd keys;    // [T, H], turned as the query is
  Eigen::MatrixXd values;  // [T, H]
};

struct HeadPerturbation {
  double query_norm = 0;        // at least |dq|
  Eigen::VectorXd key_norms;    // [T], at least |dk_j|; 0 for tokens that nothing touched
  Eigen::VectorXd value_norms;  // [T], at least |dv_j|
  // V' [T, H] where both sides are known; otherwise its diameter and spread are bounded by V's.
  std::optional<Eigen::MatrixXd> moved_values;
};

enum class AttentionBound : uint8_t { kA, kB, kC, kD };

struct HeadBound {
  Certified a{0.0}, b{0.0}, c{0.0}, d{0.0};
  Certified bound{0.0};                         // the least of them
  AttentionBound binding = AttentionBound::kA;  // which one that is
};

/// Throws std::invalid_argument for shapes that do not fit, no tokens, NaN, or norms below 0.
KVALIGN_API HeadBound attention_head_bound(const AttentionHead& head,
                                           const HeadPerturbation& perturbation);

/// tau_j = (|q| |dk_j| + |dq| (|k_j| + |dk_j|)) / sqrt(H), rounded upwards. [T]
KVALIGN_API Eigen::VectorXd score_radii(const AttentionHead& head,
                                        const HeadPerturbation& perturbation);

}  // namespace kvalign
