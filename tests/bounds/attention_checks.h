// Trials of attention bounds in wide arithmetic: random moves, keys along +-q, values towards their
// own principal direction; then layers of grouped-query heads.
#pragma once

#include <Eigen/SVD>
#include <functional>

#include "kvalign/bounds/attention_layer_bound.h"
#include "tests/bounds/softmax_checks.h"

namespace kvalign::testing {

using AttentionHeadBound = std::function<double(const AttentionHead&, const HeadPerturbation&)>;
using LayerBound =
    std::function<double(const Eigen::MatrixXd& output_weight, const Eigen::MatrixXd& queries,
                         const Eigen::VectorXd& query_norms, std::span<const KvHead> kv_heads)>;

inline WideVector wide_attention(const Eigen::VectorXd& query, const Eigen::MatrixXd& keys,
                                 const Eigen::MatrixXd& values) {
  WideVector scores = times(keys, widened(query));
  for (Wide& score : scores) score /= wide_sqrt(static_cast<Wide>(query.size()));
  return times(values.transpose(), wide_softmax(scores));
}

struct MovedHead {
  AttentionHead head;
  HeadPerturbation perturbation;
  Eigen::VectorXd moved_query;
  Eigen::MatrixXd moved_keys, moved_values;
};

inline Eigen::VectorXd row_distances(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
  Eigen::VectorXd distances(a.rows());
  for (Eigen::Index j = 0; j < a.rows(); ++j) {
    const WideVector wide_a = widened(a.row(j)), wide_b = widened(b.row(j));
    distances[j] = raised(static_cast<double>(norm(difference(wide_a, wide_b))), 1);
  }
  return distances;
}

inline MovedHead random_head(Random& random) {
  MovedHead example;
  const Eigen::Index tokens = 1 + random.below(8), head_dim = 1 + random.below(6);
  const double relative = random.power(-4, 0);
  AttentionHead& head = example.head;
  head = {random.vector(head_dim) * random.power(-1, 1), random.matrix(tokens, head_dim),
          random.matrix(tokens, head_dim) * random.power(-1, 1)};
  const bool adversarial = random.below(3) > 0;
  Eigen::MatrixXd key_moves = random.matrix(tokens, head_dim);
  Eigen::MatrixXd value_moves = random.matrix(tokens, head_dim);
  if (adversarial) {
    const Eigen::MatrixXd deviations = head.values.rowwise() - head.values.colwise().mean();
    const Eigen::VectorXd direction =
        Eigen::JacobiSVD<Eigen::MatrixXd>(deviations, Eigen::ComputeFullV).matrixV().col(0);
    for (Eigen::Index j = 0; j < tokens; ++j) {
      const double side = deviations.row(j).dot(direction) < 0 ? -1 : 1;
      key_moves.row(j) = side * head.query.transpose();
      value_moves.row(j) = direction.transpose();
    }
  }
  key_moves.rowwise().normalize();
  value_moves.rowwise().normalize();
  const bool equal = random.below(2) == 0;  // all keys move as far: sum p tau^2 is tau^2
  for (Eigen::Index j = 0; j < tokens; ++j) {
    key_moves.row(j) *= relative * (equal ? 1 : head.keys.row(j).norm());
    value_moves.row(j) *= relative * head.values.row(j).norm() * random.below(2);
  }
  const double query_move = random.below(2) ? 0 : relative;
  example.moved_query = head.query + random.vector(head_dim) * query_move;
  example.moved_keys = head.keys + key_moves;
  example.moved_values = head.values + value_moves;
  example.perturbation = {
      .query_norm = row_distances(head.query.transpose(), example.moved_query.transpose())[0],
      .key_norms = row_distances(head.keys, example.moved_keys),
      .value_norms = row_distances(head.values, example.moved_values),
      .moved_values = {}};
  if (random.below(2)) example.perturbation.moved_values = example.moved_values;
  return example;
}

inline Tightness check_attention_head(const AttentionHeadBound& bound, int64_t trials,
                                      uint64_t seed) {
  Random random(seed);
  Tightness result;
  while (result.trials() < trials) {
    const MovedHead example = random_head(random);
    const WideVector before =
        wide_attention(example.head.query, example.head.keys, example.head.values);
    const WideVector after =
        wide_attention(example.moved_query, example.moved_keys, example.moved_values);
    const Wide move = norm(difference(before, after));
    if (move < 1e-13 * norm(before)) continue;  // the measurement's own 64 bits
    result.add(move, bound(example.head, example.perturbation));
  }
  return result;
}

inline double library_layer_bound(const Eigen::MatrixXd& output_weight,
                                  const Eigen::MatrixXd& queries,
                                  const Eigen::VectorXd& query_norms,
                                  std::span<const KvHead> kv_heads) {
  std::vector<Certified> bounds;
  for (const HeadBound& head : grouped_query_bounds(queries, query_norms, kv_heads)) {
    bounds.push_back(head.bound);
  }
  return OutputProjectionCertificate(output_weight, queries.rows()).bound(bounds).value();
}

// Four query heads on two key and value heads, of which one or both moved.
inline Tightness check_attention_layer(const LayerBound& bound, int64_t trials, uint64_t seed) {
  Random random(seed);
  Tightness result;
  while (result.trials() < trials) {
    const Eigen::Index tokens = 2 + random.below(6), head_dim = 3, heads = 4;
    Eigen::MatrixXd output_weight = random.matrix(5, heads * head_dim);
    if (random.below(2)) {  // one head is all that counts
      const Eigen::MatrixXd one = output_weight.leftCols(head_dim);
      output_weight.setZero();
      output_weight.middleCols(head_dim * random.below(heads), head_dim) = one;
    }
    const Eigen::MatrixXd queries = random.matrix(heads, head_dim) * random.power(-1, 0.5);
    const int64_t untouched = random.below(3);
    WideVector moves;
    std::vector<KvHead> kv_heads;
    for (int64_t kv = 0; kv < 2; ++kv) {
      const Eigen::MatrixXd keys = random.matrix(tokens, head_dim);
      const Eigen::MatrixXd values = random.matrix(tokens, head_dim);
      const double relative = kv == untouched ? 0 : random.power(-3, -0.5);
      const Eigen::MatrixXd moved_keys = keys + random.matrix(tokens, head_dim) * relative;
      const Eigen::MatrixXd moved_values = values + random.matrix(tokens, head_dim) * relative;
      kv_heads.push_back(
          {keys, values, row_distances(keys, moved_keys), row_distances(values, moved_values)});
      for (const Eigen::Index head : {2 * kv, 2 * kv + 1}) {
        const Eigen::VectorXd query = queries.row(head);
        const WideVector move = difference(wide_attention(query, moved_keys, moved_values),
                                           wide_attention(query, keys, values));
        moves.insert(moves.end(), move.begin(), move.end());
      }
    }
    result.add(norm(times(output_weight, moves)),
               bound(output_weight, queries, Eigen::VectorXd::Zero(heads), kv_heads));
  }
  return result;
}

}  // namespace kvalign::testing
