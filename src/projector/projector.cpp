// What all kinds share: options, the check of shapes, and statistics around the map.
#include "kvalign/projector/projector.h"

#include <ATen/ATen.h>

#include "kvalign/core/options.h"

namespace kvalign {
namespace {

void check_statistics(const char* name, const at::Tensor& tensor, int64_t rows, int64_t columns) {
  TORCH_CHECK(tensor.defined() && tensor.sizes() == at::IntArrayRef({rows, columns}),
              "Projector::set_standardisation: expected ", name, " of shape [", rows, ", ", columns,
              "], got ", tensor.defined() ? c10::str(tensor.sizes()) : "none",
              ". Were the statistics measured on another dataset or layer map?");
}

}  // namespace

void ProjectorOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "kind",
                 .help = "the map from features to streams; truncate, pad, interpolate and random "
                         "are baselines without parameters",
                 .one_of = projector_kinds()},
                kind);
  visitor.field({.name = "norm",
                 .help = "what the outputs of linear_residual and mlp end with; auto is layer for "
                         "flat caches and none for pairs of models",
                 .one_of = {"auto", "layer", "rms", "none"}},
                norm);
  visitor.field({.name = "norm_epsilon",
                 .help = "added to the variance in the norm",
                 .minimum = 0,
                 .exclusive_minimum = true},
                norm_epsilon);
  visitor.field(
      {.name = "hidden_size",
       .help = "mlp: width between its two linear maps, for each stream; residual_mlp: for "
               "each group of streams that read the same features",
       .minimum = 1},
      hidden_size);
  visitor.field({.name = "rank", .help = "low_rank: numbers of the latent", .minimum = 1}, rank);
  visitor.field({.name = "latent_wire",
                 .help = "low_rank: type in which the latent is sent",
                 .one_of = {"float32", "float16", "float8_e4m3fn"}},
                latent_wire);
  visitor.field({.name = "standardise_features",
                 .help = "train on features with mean 0 and scale 1 (training split)"},
                standardise_features);
  visitor.field({.name = "standardise_targets",
                 .help = "start outputs at the mean and scale of the targets (training split)"},
                standardise_targets);
  visitor.field({.name = "seed", .help = "of the initial weights", .minimum = 0}, seed);
  visitor.section("layer_map", "which sender streams feed which receiver stream", layer_map);
}

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
    options_.norm = shape.num_streams == 1 ? "layer" : "none";
  }
}

at::Tensor Projector::forward(const at::Tensor& features_GTF) {
  TORCH_CHECK(features_GTF.dim() == 3 && features_GTF.size(0) == shape_.num_groups &&
                  features_GTF.size(2) == shape_.num_features,
              "Projector::forward: expected features of shape [", shape_.num_groups, ", tokens, ",
              shape_.num_features, "], got ", features_GTF.sizes());
  if (!feature_statistics_) {
    return project(features_GTF);
  }
  return project((features_GTF - feature_statistics_->mean.unsqueeze(1))
                     .div_(feature_statistics_->scale.unsqueeze(1)));
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

}  // namespace kvalign
