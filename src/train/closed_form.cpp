// The order of things in a closed-form fit. See closed_form.h.
#include "closed_form.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "kvalign/core/options_json.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/projector/ridge.h"
#include "kvalign/train/attention_metric.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/metrics_log.h"
#include "preparation.h"

namespace kvalign {
namespace {

constexpr const char* kIdentity = "kvalign.statistics";

void check_recipe(const Recipe& recipe, const KvProjector& projector) {
  const std::string& kind = recipe.projector.kind;
  const std::string& norm = projector.projector().options().norm;
  if ((kind != "linear_residual" && kind != "low_rank") || norm != "none") {
    throw std::invalid_argument(
        "fit.kind ridge: expected projector.kind linear_residual or low_rank with norm none, got " +
        kind + " with norm " + norm + ". A norm or a GELU has no closed form: use fit.kind adamw");
  }
  if (recipe.fit.lambda == 0 && recipe.split.validation == 0) {
    throw std::invalid_argument(
        "fit.lambda 0 chooses by the validation split, but split.validation is 0. Give fit.lambda "
        "a "
        "value");
  }
}

TrainObserver& observer_of(const DistillControl& control) {
  static TrainObserver silent;
  return control.observer ? *control.observer : silent;
}

std::string identity_of(const SafetensorsFile& file) {
  const auto found = file.metadata().find(kIdentity);
  return found == file.metadata().end() ? "nothing" : found->second;
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
        projector_(projector),
        statistics_(recipe.fit.statistics.empty()
                        ? std::filesystem::path(recipe.run_folder) / "statistics"
                        : std::filesystem::path(recipe.fit.statistics)) {
    check_recipe(recipe, projector_);
    std::filesystem::create_directories(statistics_);
  }

  ClosedFormReport solve() {
    // Opened before the long passes, so that a wrong folder is said at once.
    if (needs_receiver()) {
      receiver_ = open_receiver(recipe_.fit.receiver, "fit.receiver", *dataset_, c10::kCPU);
    }
    const RidgeStatistics training = merged_training_sums();
    std::optional<RidgeStatistics> validation;
    if (!split_.validation.empty()) validation = sums("validation", split_.validation);
    observer_.on_progress("eigendecomposition of " + std::to_string(training.shape().num_features) +
                              " features, " + std::to_string(training.num_tokens()) + " tokens",
                          0, 0);
    const Ridge ridge(training, recipe_.fit.feature_noise);
    choose_lambdas(ridge, validation);
    write_weights(ridge);
    return std::move(report_);
  }

 private:
  // What sums are of. Those of other data or another layer map must not be taken for them.
  std::string identity(const std::string& part) const {
    ProjectorOptions plan = recipe_.projector;
    return nlohmann::json{{"part", part},
                          {"dataset", dataset_->sha256()},
                          {"split", split_.sha256},
                          {"skip_first_tokens", num_skipped_tokens(recipe_.dataset, *dataset_)},
                          {"alignment", recipe_.dataset.alignment},
                          {"layer_map", options_to_json(plan.layer_map)}}
        .dump();
  }

  // Of the file where it is there, else made from the data and kept.
  RidgeStatistics sums(const std::string& part, const std::vector<int64_t>& sequences) {
    const std::string path = (statistics_ / (part + ".safetensors")).string();
    if (std::filesystem::exists(path)) {
      const SafetensorsFile file = SafetensorsFile::open(path);
      const std::string came = identity_of(file);
      if (came != identity(part)) {
        throw std::runtime_error(path + ": expected sums of " + identity(part) + ", got " + came +
                                 ". Give fit.statistics another folder, or delete this file");
      }
      return RidgeStatistics::from_file(file);
    }
    RidgeStatistics statistics(projector_.projector().shape());
    BatchLoader loader(dataset_, sequences, loader_options(recipe_, *dataset_, false));
    const int64_t num_batches = loader.num_batches(0);
    loader.start(0);
    PairedBatch batch;
    for (int64_t done = 1; loader.next(batch); ++done) {
      statistics.add(projector_.plan().gather(batch.sender_STd), batch.receiver_RTD);
      observer_.on_progress(part + " sums", done, num_batches);
      if (control_.stop_requested && control_.stop_requested()) throw FitStopped();
    }
    write_safetensors(path, statistics.tensors(), {{kIdentity, identity(part)}});
    observer_.on_save("statistics", path);
    return statistics;
  }

  // Other data is welcome, sums of another part or of features in another order are not.
  void check_mergeable(const SafetensorsFile& file) const {
    const auto own = nlohmann::json::parse(identity("training"));
    const auto other = nlohmann::json::parse(identity_of(file), nullptr, /*exceptions=*/false);
    for (const char* key : {"part", "layer_map", "skip_first_tokens", "alignment"}) {
      const std::string came =
          other.is_object() && other.contains(key) ? other[key].dump() : "none";
      if (came == own[key].dump()) continue;
      throw std::runtime_error(file.path() + ": expected sums with " + key + " " + own[key].dump() +
                               ", got " + came +
                               ". Only training sums made with one recipe's "
                               "settings can be merged");
    }
  }

  RidgeStatistics merged_training_sums() {
    RidgeStatistics statistics = sums("training", split_.train);
    for (const std::string& path : recipe_.fit.merge) {
      const SafetensorsFile file = SafetensorsFile::open(path);
      check_mergeable(file);
      statistics.merge(RidgeStatistics::from_file(file));
    }
    return statistics;
  }

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
    if (recipe_.projector.kind == "linear_residual") {
      observer_.on_progress("weights", 0, 0);
      const LinearMap map = ridge.solve(report_.lambda_R);
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
  std::filesystem::path statistics_;
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

}  // namespace

ClosedFormReport solve_in_closed_form(const Recipe& recipe, const DistillControl& control,
                                      std::shared_ptr<const PairedDataset> dataset,
                                      const Split& split, KvProjector& projector) {
  return ClosedForm(recipe, control, std::move(dataset), split, projector).solve();
}

DistillResult fit_in_closed_form(const Recipe& recipe, const DistillControl& control) {
  const std::filesystem::path folder(recipe.run_folder);
  const std::string checkpoint = (folder / "checkpoint.safetensors").string();
  check_run_folder(recipe, checkpoint, control.resume);
  std::filesystem::create_directories(folder);
  const auto dataset = open_dataset(recipe.dataset);
  const Split split = split_by_sequence(*dataset, recipe.split);
  const auto projector = std::make_shared<KvProjector>(
      recipe.projector, dataset->index().sender.geometry, dataset->index().receiver.geometry);
  BatchLoader loader(dataset, split.train, loader_options(recipe, *dataset, /*shuffle=*/false));
  TrainObserver& observer = observer_of(control);
  observer.on_start({.num_parameters = projector->projector().num_parameters(),
                     .train_sequences = static_cast<int64_t>(split.train.size()),
                     .train_tokens = loader.num_tokens(),
                     .validation_sequences = static_cast<int64_t>(split.validation.size()),
                     .steps_per_epoch = 1,
                     .total_steps = 1});
  const ClosedFormReport report = solve_in_closed_form(recipe, control, dataset, split, *projector);
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
