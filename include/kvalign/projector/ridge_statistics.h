// Sums over tokens from which every closed-form fit is made: activations are never stored, and sums
// of two parts of the data merge into those of the whole. No solver; ridge.h has it.
//
// Shapes:  G feature groups   F features   R streams   D receiver width   T tokens
//          O = R / G * D outputs of a group, stream by stream
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/core/safetensors.h"
#include "kvalign/format/export.h"
#include "kvalign/projector/feature_plan.h"
#include "kvalign/projector/projector.h"

namespace kvalign {

class KVALIGN_API RidgeStatistics {
 public:
  /// No token yet. Holds G F (F + O) float64: 1 GB for F = 6,144 and 56 streams of 256.
  explicit RidgeStatistics(const ProjectorShape& shape, c10::Device device = c10::kCPU);

  /// features_GTF and targets_RTD of the same tokens, any floating dtype, on any device; products
  /// and sums are float64 and made on the statistics' own device. Throws c10::Error for other
  /// shapes.
  void add(const at::Tensor& features_GTF, const at::Tensor& targets_RTD);

  /// The same sums on `device`, shared where they are there already.
  RidgeStatistics to(c10::Device device) const;

  /// Adds the tokens of `other`, from any device. Throws c10::Error where the shapes differ.
  void merge(const RidgeStatistics& other);

  /// The sums that `plan` would have given, from those of layer map all with features both.
  /// Throws c10::Error for sums of another layer map.
  RidgeStatistics restricted_to(const FeaturePlan& plan) const;

  /// For write_safetensors, and back. Tensors are shared. Throws c10::Error naming what is missing
  /// or misshapen.
  std::vector<NamedTensor> tensors() const;
  static RidgeStatistics from_file(const SafetensorsFile& file);

  const ProjectorShape& shape() const { return shape_; }
  int64_t num_tokens() const;

  const at::Tensor& feature_products() const { return feature_products_GFF_; }  ///< X'X
  const at::Tensor& output_products() const { return output_products_GFO_; }    ///< X'Y
  const at::Tensor& feature_sums() const { return feature_sums_GF_; }
  const at::Tensor& output_sums() const { return output_sums_RD_; }
  const at::Tensor& output_squares() const { return output_squares_RD_; }  ///< sums of squares

 private:
  ProjectorShape shape_;
  at::Tensor num_tokens_;  ///< int64 [1]
  at::Tensor feature_products_GFF_, output_products_GFO_, feature_sums_GF_, output_sums_RD_,
      output_squares_RD_;
};

}  // namespace kvalign
