// The projector: features of the sender's cache in, streams of the receiver's cache out. One module
// holds all streams; each kind is one file in src/projector and one line in its registry.
// It knows tensors only; kv_projector.h adds geometries and caches.
//
// Shapes:  G feature groups (divides R)   F features   R streams   D receiver width   T tokens
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/projector/projector_options.h"
#include "kvalign/projector/standardisation.h"

namespace kvalign {

// A latent in FP8 is sent as codes of this scale. Latents have a variance of at most 1 and E4M3
// codes reach 448, so that 28 standard deviations are within reach and what is below a thousandth
// of one has the subnormal codes.
constexpr float kLatentScale = 1.0f / 16;
// Those codes, float8_e4m3fn of any shape; numbers beyond 28 become 28.
KVALIGN_API at::Tensor latent_codes(const at::Tensor& latent);

struct ProjectorShape {
  int64_t num_groups = 1;    // G
  int64_t num_features = 0;  // F
  int64_t num_streams = 1;   // R
  int64_t width = 0;         // D
};

// All parameters are float32 at first; to(dtype) and to(device) work as on every module.
class KVALIGN_API Projector : public torch::nn::Module {
 public:
  // [G, T, F] -> [R, T, D], of the parameters' dtype and device. Where tokens read one another
  // (compress), `sequence_offsets`, int64 [B + 1] on the CPU, says which are of one sequence; all
  // where it is undefined. Errors: c10::Error for another shape.
  at::Tensor forward(const at::Tensor& features_GTF, const at::Tensor& sequence_offsets = {});

  // Adds and returns the part that reads the receiver's cache, a submodule with features of
  // `shape`; null for a kind without one. kv_projector.h says what it is for. To be called once.
  virtual std::shared_ptr<Projector> add_receiver_part(const ProjectorShape& shape);

  const ProjectorShape& shape() const { return shape_; }

  // As given, but norm is never "auto".
  const ProjectorOptions& options() const { return options_; }

  // low_rank: from now on only the first `rank` numbers of the latent are used, the others are 0; a
  // rank of 0 uses all again. Errors: c10::Error for a kind without a latent, or fewer numbers.
  void use_rank(int64_t rank);
  int64_t used_rank() const { return used_rank_; }

  // low_rank: [1, T, k], a latent that arrived, to [R, T, D]; numbers beyond the first k are 0.
  // Errors: c10::Error for a kind without a latent, and another shape.
  at::Tensor project_latent(const at::Tensor& latent_1Tk);

  // Elements of the weights, frozen ones included; statistics are not counted. 0 for a baseline.
  int64_t num_parameters() const;

  // From now on forward() works on (features - mean) / scale, and its outputs are multiplied by the
  // targets' scale and moved by their mean, each where the options ask for it. norm rms ends in a
  // multiplication and has no place for a mean: there the scale is the root mean square of the
  // targets, and their mean is left to the linear map. The statistics become buffers
  // "feature_statistics.{mean,scale}" and "output_statistics.{mean,scale}" and move with the
  // module. Errors: c10::Error for wrong shapes, when called twice, and for a kind without
  // parameters.
  void set_standardisation(const FeatureStatistics& statistics);

  // As set_standardisation, for weights that fit raw features and outputs already: they are changed
  // so that the function stays. Errors: also c10::Error for norm rms with standardised targets,
  // whose scale leaves no place for a mean.
  void standardise_fitted(const FeatureStatistics& statistics);

  // Multiplies the statistics into the weights and drops them: the same function of the raw
  // features, the same number of parameters. Does nothing where there are none.
  void fold_standardisation();

 protected:
  // Mean and scale of one side, as buffers.
  struct Statistics : torch::nn::Module {
    Statistics(const at::Tensor& mean, const at::Tensor& scale);
    at::Tensor mean;
    at::Tensor scale;
  };

  Projector(const ProjectorOptions& options, const ProjectorShape& shape);

  // What a kind implements: standardised [G, T, F] -> [R, T, D], including output_statistics()
  // where they are set.
  virtual at::Tensor project(const at::Tensor& features_GTF) = 0;
  virtual at::Tensor project_sequences(const at::Tensor& features_GTF, const at::Tensor&) {
    return project(features_GTF);
  }
  // The same from a whole latent [1, T, r]. Never called for a kind without one.
  virtual at::Tensor project_whole_latent(const at::Tensor&) { return {}; }
  // Multiplies statistics into the weights: fold_features gives the same function of raw features,
  // fold_outputs the one whose outputs have mean and scale. Never called for a kind without
  // parameters.
  virtual void fold_features(const Statistics&) {}
  virtual void fold_outputs(const Statistics&) {}

  // What project() multiplies by and adds at the end, [R, D]; both undefined where there is
  // nothing.
  at::Tensor output_mean() const;
  at::Tensor output_scale() const;
  // [R, T, D] with both, or as it is.
  at::Tensor with_output_statistics(const at::Tensor& output_RTD) const;

 private:
  ProjectorOptions options_;  // norm is never "auto"
  ProjectorShape shape_;
  int64_t used_rank_ = 0;
  std::shared_ptr<Statistics> feature_statistics_;
  std::shared_ptr<Statistics> output_statistics_;
};

// Registered names: linear_residual, mlp, residual_mlp, low_rank, bidirectional, autoencoder, and
// the baselines, which have no parameters.
KVALIGN_API std::vector<std::string> projector_kinds();

// The baselines that make sense for a shape: truncate (F >= D) or pad (F < D), interpolate, random.
KVALIGN_API std::vector<std::string> baseline_kinds(const ProjectorShape& shape);

// Options of a baseline: layer map nearest_depth with own features, no norm, no standardisation.
KVALIGN_API ProjectorOptions baseline_options(const std::string& kind, int64_t seed);

// Weights are initialised as torch.nn.Linear does, from options.seed: the same on one LibTorch
// version. Errors: c10::Error for an unknown kind (with the known ones) or norm, sizes that are not
// positive, G that does not divide R, and a kind that the shape does not allow.
KVALIGN_API std::shared_ptr<Projector> make_projector(const ProjectorOptions& options,
                                                      const ProjectorShape& shape);

}  // namespace kvalign
