// From heads to a layer's attention output W_O [o_1; ..; o_Q]: several query heads share one key
// and value head (grouped-query attention). Also the layer's amplification C, which is computed for
// each query and not assumed.
//
// Shapes: Q query heads, N key and value heads (Q a multiple of N), T tokens, H head dim, D hidden
// size.
#pragma once

#include <Eigen/Core>
#include <optional>
#include <span>
#include <vector>

#include "kvalign/bounds/attention_bound.h"
#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// One key and value head and how far it may move.
struct KvHead {
  Eigen::MatrixXd keys, values;                      // [T, H]
  Eigen::VectorXd key_norms, value_norms;            // [T]
  std::optional<Eigen::MatrixXd> moved_values = {};  // [T, H], as in HeadPerturbation
};

/// Bounds of each query head, in order. `queries` [Q, H]; `query_norms` [Q], at least |dq|. Query
/// head h reads key and value head h / (Q / N), as in transformers. Throws std::invalid_argument as
/// attention_head_bound does, and unless Q is a positive multiple of N.
KVALIGN_API std::vector<HeadBound> grouped_query_bounds(const Eigen::MatrixXd& queries,
                                                        const Eigen::VectorXd& query_norms,
                                                        std::span<const KvHead> kv_heads);

class KVALIGN_API OutputProjectionCertificate {
 public:
  /// `weight` [D, Q * H]. Throws std::invalid_argument unless its columns divide by `num_heads` >
  /// 0.
  OutputProjectionCertificate(const Eigen::MatrixXd& weight, int64_t num_heads);

  /// Of the layer's attention output: min(|W_O|_2 sqrt(sum_h b_h^2), sum_h |W_O^h|_2 b_h). Throws
  /// std::invalid_argument unless there are `num_heads` bounds.
  Certified bound(std::span<const Certified> head_bounds) const;

 private:
  Certified whole_{0.0};
  std::vector<Certified> parts_;  // one a head
};

/// C = (relative move of the output) / (relative move of keys and values), certified: the bound's
/// part is proved, `output_norm` and `relative_move` (both > 0) are this query's own numbers.
KVALIGN_API Certified certified_amplification(Certified bound, Measured output_norm,
                                              Measured relative_move);
/// The same of what was observed.
KVALIGN_API Measured measured_amplification(Measured output_move, Measured output_norm,
                                            Measured relative_move);

}  // namespace kvalign
