// What all kinds share: the check of shapes, and statistics around the map.
#include "kvalign/projector/projector.h"

#include <ATen/ATen.h>

namespace kvalign {
namespace {

void check_statistics(const char* name, const at::Tensor& tensor, int64_t rows, int64_t columns) {
  TORCH_CHECK(tensor.defined() && tensor.sizes() == at::IntArrayRef({rows, columns}),
              "Projector::set_standardisation: expected ", name, " of shape [", rows, ", ", columns,
              "], got ", tensor.defined() ? c10::str(tensor.sizes()) : "none",
              ". Were the statistics measured on another dataset or layer map?");
}

}  // namespace

ProjectorOptions baseline_options(const std::string& kind, int64_t seed) {
  return {.kind = kind,
          .norm = "none",
          .standardise_features = false,
          .standardise_targets = false,
          .seed = seed,
          .layer_map = {}};
}

Projector::Statistics::Statistics(const at::Tensor& mean_values, const at::Tensor& scale_values)
    : mean(register_buffer("mean", mean_values)), scale(register_buffer("scale", scale_values)) {}

Projector::Projector(const ProjectorOptions& options, const ProjectorShape& shape)
    : options_(options), shape_(shape) {
  if (options_.norm == "auto") {
    const bool may_have_norm = options.kind == "linear_residual" || options.kind == "mlp";
    options_.norm = may_have_norm && shape.num_streams == 1 ? "layer" : "none";
  }
}

std::shared_ptr<Projector> Projector::add_receiver_part(const ProjectorShape&) {
  return nullptr;
}

at::Tensor Projector::forward(const at::Tensor& features_GTF, const at::Tensor& sequence_offsets) {
  TORCH_CHECK(features_GTF.dim() == 3 && features_GTF.size(0) == shape_.num_groups &&
                  features_GTF.size(2) == shape_.num_features,
              "Projector::forward: expected features of shape [", shape_.num_groups, ", tokens, ",
              shape_.num_features, "], got ", features_GTF.sizes());
  const at::Tensor standardised_GTF = feature_statistics_
                                          ? (features_GTF - feature_statistics_->mean.unsqueeze(1))
                                                .div_(feature_statistics_->scale.unsqueeze(1))
                                          : features_GTF;
  return sequence_offsets.defined() ? project_sequences(standardised_GTF, sequence_offsets)
                                    : project(standardised_GTF);
}

void Projector::use_rank(int64_t rank) {
  TORCH_CHECK(rank == 0 || options_.kind == "low_rank",
              "Projector::use_rank: expected kind low_rank, got ", options_.kind,
              ", which has no latent");
  TORCH_CHECK(rank >= 0 && rank <= options_.rank, "Projector::use_rank: expected 0 .. ",
              options_.rank, ", got ", rank);
  used_rank_ = rank;
}

at::Tensor Projector::project_latent(const at::Tensor& latent_1Tk) {
  TORCH_CHECK(options_.kind == "low_rank", "Projector::project_latent: ", options_.kind,
              " has no latent. Only low_rank has one");
  TORCH_CHECK(latent_1Tk.dim() == 3 && latent_1Tk.size(0) == 1 && latent_1Tk.size(2) >= 1 &&
                  latent_1Tk.size(2) <= options_.rank,
              "Projector::project_latent: expected [1, tokens, 1 .. ", options_.rank, "], got ",
              latent_1Tk.sizes());
  return project_whole_latent(
      at::constant_pad_nd(latent_1Tk, {0, options_.rank - latent_1Tk.size(2)}));
}

int64_t Projector::num_parameters() const {
  int64_t count = 0;
  for (const at::Tensor& parameter : parameters()) {
    count += parameter.numel();
  }
  return count;
}

void Projector::set_standardisation(const FeatureStatistics& statistics) {
  TORCH_CHECK(
      num_parameters() > 0, "Projector::set_standardisation: kind ", options_.kind,
      " has no parameters to train. Turn standardise_features and standardise_targets off.");
  TORCH_CHECK(!feature_statistics_ && !output_statistics_,
              "Projector::set_standardisation: statistics are already set. Fold them first.");
  const at::TensorOptions like = parameters().front().options().requires_grad(false);
  const auto make = [&](const char* name, const at::Tensor& mean, const at::Tensor& scale) {
    return register_module(name,
                           std::make_shared<Statistics>(mean.to(like, false, /*copy=*/true),
                                                        scale.to(like, false, /*copy=*/true)));
  };
  if (options_.standardise_features) {
    check_statistics("feature_mean_GF", statistics.feature_mean_GF, shape_.num_groups,
                     shape_.num_features);
    check_statistics("feature_scale_GF", statistics.feature_scale_GF, shape_.num_groups,
                     shape_.num_features);
  }
  if (options_.standardise_targets) {
    check_statistics("output_mean_RD", statistics.output_mean_RD, shape_.num_streams, shape_.width);
    check_statistics("output_scale_RD", statistics.output_scale_RD, shape_.num_streams,
                     shape_.width);
  }
  if (options_.standardise_features) {
    feature_statistics_ =
        make("feature_statistics", statistics.feature_mean_GF, statistics.feature_scale_GF);
  }
  if (options_.standardise_targets) {
    const at::Tensor& mean = statistics.output_mean_RD;
    const at::Tensor& scale = statistics.output_scale_RD;
    output_statistics_ = options_.norm == "rms" ? make("output_statistics", at::zeros_like(mean),
                                                       at::hypot(mean, scale))
                                                : make("output_statistics", mean, scale);
  }
}

void Projector::standardise_fitted(const FeatureStatistics& statistics) {
  TORCH_CHECK(options_.norm != "rms" || !options_.standardise_targets,
              "Projector::standardise_fitted: norm rms has no place for the targets' mean");
  set_standardisation(statistics);
  // Folding the inverse: x * scale + mean undoes (x - mean) / scale.
  const at::NoGradGuard no_gradients;
  const auto inverse = [](const Statistics& forward) {
    return Statistics(-forward.mean / forward.scale, forward.scale.reciprocal());
  };
  if (feature_statistics_) fold_features(inverse(*feature_statistics_));
  if (output_statistics_) fold_outputs(inverse(*output_statistics_));
}

void Projector::fold_standardisation() {
  if (output_statistics_) {
    fold_outputs(*output_statistics_);
    unregister_module("output_statistics");
    output_statistics_.reset();
  }
  if (feature_statistics_) {
    fold_features(*feature_statistics_);
    unregister_module("feature_statistics");
    feature_statistics_.reset();
  }
}

at::Tensor Projector::output_mean() const {
  return output_statistics_ ? output_statistics_->mean : at::Tensor();
}

at::Tensor Projector::output_scale() const {
  return output_statistics_ ? output_statistics_->scale : at::Tensor();
}

at::Tensor Projector::with_output_statistics(const at::Tensor& output_RTD) const {
  if (!output_statistics_) return output_RTD;
  return at::addcmul(output_mean().unsqueeze(1), output_RTD, output_scale().unsqueeze(1));
}

}  // namespace kvalign
