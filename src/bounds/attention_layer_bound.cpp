// Heads combined through W_O. See attention_layer_bound.h.
#include "kvalign/bounds/attention_layer_bound.h"

#include "check.h"
#include "kvalign/bounds/spectral_norm.h"

namespace kvalign {

std::vector<HeadBound> grouped_query_bounds(const Eigen::MatrixXd& queries,
                                            const Eigen::VectorXd& query_norms,
                                            std::span<const KvHead> kv_heads) {
  const auto num_kv_heads = static_cast<Eigen::Index>(kv_heads.size());
  check(num_kv_heads > 0 && queries.rows() > 0 && queries.rows() % num_kv_heads == 0 &&
            query_norms.size() == queries.rows(),
        "grouped_query_bounds: expected a multiple of ", num_kv_heads,
        " query heads and a norm for each, got ", queries.rows(), " and ", query_norms.size(),
        " norms");
  const Eigen::Index group = queries.rows() / num_kv_heads;
  std::vector<HeadBound> bounds;
  for (Eigen::Index head = 0; head < queries.rows(); ++head) {
    const KvHead& kv = kv_heads[static_cast<size_t>(head / group)];
    bounds.push_back(attention_head_bound(
        {.query = queries.row(head).transpose(), .keys = kv.keys, .values = kv.values},
        {.query_norm = query_norms[head],
         .key_norms = kv.key_norms,
         .value_norms = kv.value_norms,
         .moved_values = kv.moved_values}));
  }
  return bounds;
}

OutputProjectionCertificate::OutputProjectionCertificate(const Eigen::MatrixXd& weight,
                                                         int64_t num_heads) {
  check(num_heads > 0 && weight.cols() % num_heads == 0,
        "OutputProjectionCertificate: expected a number of columns that ", num_heads,
        " heads divide, got ", weight.cols());
  whole_ = spectral_norm_upper(weight);
  const Eigen::Index head_dim = weight.cols() / num_heads;
  for (int64_t head = 0; head < num_heads; ++head) {
    parts_.push_back(spectral_norm_upper(weight.middleCols(head * head_dim, head_dim)));
  }
}

Certified OutputProjectionCertificate::bound(std::span<const Certified> head_bounds) const {
  check(head_bounds.size() == parts_.size(), "OutputProjectionCertificate::bound: expected ",
        parts_.size(), " head bounds, got ", head_bounds.size());
  Eigen::VectorXd bounds(static_cast<Eigen::Index>(parts_.size()));
  Certified sum(0);
  for (size_t head = 0; head < parts_.size(); ++head) {
    bounds[static_cast<Eigen::Index>(head)] = head_bounds[head].value();
    sum = sum + parts_[head] * head_bounds[head];
  }
  return tighter(sum, whole_ * Certified(norm_upper(bounds)));
}

Certified certified_amplification(Certified bound, Measured output_norm, Measured relative_move) {
  check(output_norm.value() > 0 && relative_move.value() > 0,
        "certified_amplification: expected an output norm and a relative move > 0, got ",
        output_norm.value(), " and ", relative_move.value());
  return Certified(raised(bound.value() / output_norm.value() / relative_move.value(), 3));
}

Measured measured_amplification(Measured output_move, Measured output_norm,
                                Measured relative_move) {
  check(output_norm.value() > 0 && relative_move.value() > 0,
        "measured_amplification: expected an output norm and a relative move > 0, got ",
        output_norm.value(), " and ", relative_move.value());
  return Measured(output_move.value() / output_norm.value() / relative_move.value());
}

}  // namespace kvalign
