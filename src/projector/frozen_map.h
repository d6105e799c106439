// One linear map for each stream, laid out for running: every call is one matrix product (or one a
// feature group).
//
// float32 weights of a CPU whose groups are multiplied one by one are packed, unless they are few
// (kvalign/ops/packed_linear.h); up to 64 MiB also lie as others do, for calls of one token. Others
// lie [G, F, O]: for one token that is up to twice as fast as [G, O, F] with MKL and OpenBLAS, and
// as fast for more. bfloat16 weights of a CPU lie [G, O, F], as frozen_linear wants them, and are
// multiplied in float32.
//
// Shapes:  G feature groups (divides R)   F features   R streams   D width   T tokens
//          O = R / G * D outputs of a group
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "kvalign/ops/packed_linear.h"
#include "kvalign/projector/projector.h"
#include "trained_weights.h"

namespace kvalign {

struct FrozenLayout {
  at::ScalarType dtype = at::kFloat;  ///< or bfloat16, of the weights
  bool packs = true;                  ///< float32 weights of a CPU where it pays
};

class FrozenMap {
 public:
  /// `map_of` is asked once for each stream, in order; its bias may be undefined, for all streams.
  FrozenMap(const ProjectorShape& shape, const std::function<StreamMap(int64_t stream)>& map_of,
            const FrozenLayout& layout);

  /// [R, T, D] for write(), uninitialised: token by token where streams share features,
  /// so that their products are one; stream by stream where each stream has its own.
  at::Tensor empty_output(int64_t num_tokens) const;

  /// features_GTF, of feature_dtype() and of groups first_group, first_group + 1, .., to
  /// output_RTD, their streams of one of empty_output(), or some tokens of them; where each stream
  /// has its features, also to any tensor of contiguous rows.
  void write(const at::Tensor& features_GTF, at::Tensor& output_RTD, int64_t first_group = 0) const;

  /// All groups, to an output of its own.
  at::Tensor run(const at::Tensor& features_GTF) const;

  /// What features and outputs are made of: float32 on a CPU.
  at::ScalarType feature_dtype() const;
  const ProjectorShape& shape() const { return shape_; }

 private:
  int64_t streams_of_group() const { return shape_.num_streams / shape_.num_groups; }
  void allocate(const StreamMap& like);
  at::Tensor group_weight_OF(int64_t group);  ///< a view, to be written
  bool converts() const;                      ///< weights are not of feature_dtype()
  bool multiplies_packed(int64_t num_tokens) const;
  at::Tensor streams_of(const at::Tensor& output_TO) const;  ///< of a single group: [R, T, D]

  ProjectorShape shape_;
  at::TensorOptions options_;  ///< of the weights
  bool packs_ = false;
  std::vector<PackedLinear> packed_;  ///< a group's each, where it packs
  at::Tensor weight_;                 ///< else [G, F, O], or [G, O, F] where it converts
  at::Tensor bias_GO_;                ///< none where the maps have none
  /// Views of them: a call makes none. Where it packs: a group's weights [F, O], or nothing.
  std::vector<at::Tensor> group_weights_, group_biases_;
};

}  // namespace kvalign
