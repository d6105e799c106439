// The order of things in a closed-form fit. See closed_form.h.
#include "closed_form.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "closed_form_sums.h"
#include "kvalign/core/files.h"
#include "kvalign/projector/layer_selection.h"
#include "kvalign/projector/ridge.h"
#include "kvalign/train/attention_metric.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/metrics_log.h"
#include "preparation.h"

namespace kvalign {
namespace {

void check_recipe(const Recipe& recipe, const PairedDataset& dataset) {
  const ProjectorOptions& projector = recipe.projector;
  const bool has_norm = projector.norm != "none" &&
                        (projector.norm != "auto" || is_flat(dataset.index().receiver.geometry));
  const bool is_linear = projector.kind == "linear_residual" || projector.kind == "residual_mlp" ||
                         projector.kind == "low_rank";
  if (!is_linear || has_norm) {
    throw std::invalid_argument(
        "fit.kind ridge: expected projector.kind linear_residual, residual_mlp or low_rank with "
        "norm none, got " +
        projector.kind + " with norm " + projector.norm +
        ". A norm or a GELU has no closed form: use fit.kind adamw");
  }
  if (recipe.split.validation == 0 && (recipe.fit.lambda == 0 || recipe.fit.top_k > 0)) {
    throw std::invalid_argument(
        "fit: lambda 0 and top_k choose by the validation split, but split.validation is 0. Give "
        "fit.lambda a value and leave fit.top_k out, or hold sequences out");
  }
  const LayerMapOptions& map = projector.layer_map;
  if (recipe.fit.top_k > 0 && (map.kind != "top_k" || !map.layers.empty() ||
                               projector.kind == "low_rank" || recipe.fit.kind != "ridge")) {
    throw std::invalid_argument(
        "fit.top_k: expected fit.kind ridge, projector.kind linear_residual or residual_mlp, and "
        "layer_map.kind top_k without layers, which it chooses; got " +
        recipe.fit.kind + ", " + projector.kind + ", " + map.kind + " with " +
        std::to_string(map.layers.size()) + " layers");
  }
}

TrainObserver& observer_of(const DistillControl& control) {
  static TrainObserver silent;
  return control.observer ? *control.observer : silent;
}

class ClosedForm {
 public:
  ClosedForm(const Recipe& recipe, const DistillControl& control,
             std::shared_ptr<const PairedDataset> dataset, const Split& split,
             KvProjector& projector)
      : recipe_(recipe),
        control_(control),
        observer_(observer_of(control)),
        dataset_(std::move(dataset)),
        split_(split),
        projector_(projector) {}

  ClosedFormReport solve(const ClosedFormSums& sums) {
    // Opened before the long computations, so that a wrong folder is said at once.
    if (needs_receiver()) {
      receiver_ = open_receiver(recipe_.fit.receiver, "fit.receiver", *dataset_, c10::kCPU);
    }
    const RidgeStatistics& training = sums.training;
    observer_.on_progress("correlations of " + std::to_string(training.shape().num_features) +
                              " features, " + std::to_string(training.num_tokens()) + " tokens",
                          0, 0);
    const Ridge ridge(training, recipe_.fit.feature_noise);
    choose_lambdas(ridge, sums.validation);
    write_weights(ridge);
    return std::move(report_);
  }

 private:
  void choose_lambdas(const Ridge& ridge, const std::optional<RidgeStatistics>& validation) {
    const auto streams = static_cast<size_t>(projector_.projector().shape().num_streams);
    lambdas_ = recipe_.fit.lambda > 0 ? std::vector<double>{recipe_.fit.lambda} : default_lambdas();
    report_.lambda_R.assign(streams, lambdas_.front());
    if (!validation) return;
    observer_.on_progress("held-out error of " + std::to_string(lambdas_.size()) + " penalties", 0,
                          0);
    const at::Tensor error_LR = ridge.held_out_error(*validation, lambdas_);
    const auto [best_R, place_R] = error_LR.min(0);
    for (size_t stream = 0; stream < streams; ++stream) {
      const auto r = static_cast<int64_t>(stream);
      report_.unexplained_R.push_back(best_R[r].item<double>());
      report_.lambda_R[stream] = lambdas_[static_cast<size_t>(place_R[r].item<int64_t>())];
    }
    report_.mean_unexplained = best_R.mean().item<double>();
    mean_error_L_ = error_LR.mean(1);
  }

  // One latent serves all streams, and so does one penalty: the best on average.
  double shared_lambda() const {
    if (!mean_error_L_.defined()) return lambdas_.front();
    return lambdas_[static_cast<size_t>(mean_error_L_.argmin().item<int64_t>())];
  }

  void write_weights(const Ridge& ridge) {
    const at::NoGradGuard no_gradients;
    auto parameters = projector_.projector().named_parameters();
    if (recipe_.projector.kind != "low_rank") {
      observer_.on_progress("weights", 0, 0);
      const RidgeMap map = ridge.solve(report_.lambda_R);
      parameters["linear.weight"].copy_(map.weight_RDF);
      parameters["linear.bias"].copy_(map.bias_RD);
      return;
    }
    const at::Tensor metric_RNHH = receiver_ ? attention_metric() : ridge.variance_metric();
    observer_.on_progress("reduced-rank regression", 0, 0);
    const LowRankMap map = ridge.reduce(shared_lambda(), recipe_.projector.rank, metric_RNHH);
    parameters["encoder.weight"].copy_(map.encoder_rF.unsqueeze(0));
    parameters["encoder.bias"].copy_(map.encoder_bias_r.unsqueeze(0));
    parameters["decoder.weight"].copy_(map.decoder_RDr);
    parameters["decoder.bias"].copy_(map.decoder_bias_RD);
  }

  bool needs_receiver() const {
    return recipe_.projector.kind == "low_rank" && recipe_.fit.metric == "attention";
  }

  at::Tensor attention_metric() {
    // Evenly spread over the training split, so that every kind of text is met.
    const auto wanted =
        std::min<size_t>(static_cast<size_t>(recipe_.fit.metric_sequences), split_.train.size());
    AttentionMetric metric(*receiver_, num_skipped_tokens(recipe_.dataset, *dataset_));
    for (size_t i = 0; i < wanted; ++i) {
      const int64_t sequence = split_.train[i * split_.train.size() / wanted];
      metric.add(dataset_->read({sequence}).token_ids);
      observer_.on_progress("attention metric", static_cast<int64_t>(i) + 1,
                            static_cast<int64_t>(wanted));
      if (control_.stop_requested && control_.stop_requested()) throw FitStopped();
    }
    return metric.finish();
  }

  const Recipe& recipe_;
  const DistillControl& control_;
  TrainObserver& observer_;
  std::shared_ptr<const PairedDataset> dataset_;
  const Split& split_;
  KvProjector& projector_;
  std::shared_ptr<const Decoder> receiver_;  // where the metric needs it
  std::vector<double> lambdas_;
  at::Tensor mean_error_L_;
  ClosedFormReport report_{.mean_unexplained = std::numeric_limits<double>::infinity()};
};

// A run folder that holds a checkpoint is left alone unless the run may go on.
void check_run_folder(const Recipe& recipe, const std::string& checkpoint, bool resume) {
  if (!std::filesystem::exists(checkpoint) || resume) return;
  throw std::runtime_error(recipe.run_folder + ": holds a run already (" + checkpoint +
                           "). Choose another run_folder, or delete this one");
}

// Fills in the layer map, and leaves the sums that it needs.
void choose_layers(Recipe& recipe, TrainObserver& observer, const PairedDataset& dataset,
                   ClosedFormSums& sums) {
  const KvGeometry &sender = dataset.index().sender.geometry,
                   &receiver = dataset.index().receiver.geometry;
  observer.on_progress(
      "choice of " + std::to_string(recipe.fit.top_k) + " sender layers for each receiver layer", 0,
      0);
  // A penalty that is mild for every pair: the choice hardly depends on it.
  constexpr double kLambda = 1e-3;
  const c10::Device device = sums.training.feature_sums().device();
  const RidgeStatistics training = sums.training.to(c10::kCPU);
  const RidgeStatistics validation = sums.validation->to(c10::kCPU);
  for (const std::vector<int64_t>& layers :
       select_layers(training, validation, sender.num_layers, recipe.fit.top_k,
                     recipe.fit.lambda > 0 ? recipe.fit.lambda : kLambda)) {
    std::vector<int64_t>& all = recipe.projector.layer_map.layers;
    all.insert(all.end(), layers.begin(), layers.end());
  }
  const FeaturePlan plan(sender, receiver, recipe.projector.layer_map);
  sums.training = training.restricted_to(plan).to(device);
  sums.validation = validation.restricted_to(plan).to(device);
}

}  // namespace

ClosedFormReport solve_in_closed_form(const Recipe& recipe, const DistillControl& control,
                                      std::shared_ptr<const PairedDataset> dataset,
                                      const Split& split, KvProjector& projector) {
  check_recipe(recipe, *dataset);
  const ClosedFormSums sums = closed_form_sums(recipe, control, dataset, split);
  return ClosedForm(recipe, control, std::move(dataset), split, projector).solve(sums);
}

DistillResult fit_in_closed_form(Recipe recipe, const DistillControl& control) {
  const std::filesystem::path folder(recipe.run_folder);
  const std::string checkpoint = (folder / "checkpoint.safetensors").string();
  check_run_folder(recipe, checkpoint, control.resume);
  std::filesystem::create_directories(folder);
  const auto dataset = open_dataset(recipe.dataset);
  const Split split = split_by_sequence(*dataset, recipe.split);
  check_recipe(recipe, *dataset);
  TrainObserver& observer = observer_of(control);
  ClosedFormSums sums = closed_form_sums(recipe, control, dataset, split);
  if (recipe.fit.top_k > 0) choose_layers(recipe, observer, *dataset, sums);
  const auto projector = std::make_shared<KvProjector>(
      recipe.projector, dataset->index().sender.geometry, dataset->index().receiver.geometry);
  observer.on_start({.num_parameters = projector->projector().num_parameters(),
                     .train_sequences = static_cast<int64_t>(split.train.size()),
                     .train_tokens = sums.training.num_tokens(),
                     .validation_sequences = static_cast<int64_t>(split.validation.size()),
                     .steps_per_epoch = 1,
                     .total_steps = 1});
  const ClosedFormReport report =
      ClosedForm(recipe, control, dataset, split, *projector).solve(sums);
  nlohmann::ordered_json metrics = {{"lambda", report.lambda_R}};
  if (!report.unexplained_R.empty()) {
    // Share of the variance, as the reconstruction's r2 has it but over sampled outputs.
    metrics["validation"] = {{"unexplained", report.unexplained_R},
                             {"mean_unexplained", report.mean_unexplained}};
  }
  write_file_atomically((folder / "config.yaml").string(), options_to_yaml(recipe));
  MetricsLog log((folder / "metrics.jsonl").string(), 0);
  log.event("closed_form", metrics);
  log.sync();
  save_checkpoint(checkpoint, make_checkpoint(recipe, *dataset, split, projector, metrics.dump()));
  observer.on_save("checkpoint", checkpoint);
  return {.steps = 1,
          .epochs = 1,
          .best_loss = report.mean_unexplained,
          .best_step = report.unexplained_R.empty() ? -1 : 1,
          .checkpoint = checkpoint};
}

}  // namespace kvalign
