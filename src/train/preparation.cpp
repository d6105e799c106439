// Passes over the data before training.
#include "preparation.h"

#include <ATen/ATen.h>

#include <stdexcept>
#include <utility>
#include <vector>

#include "kvalign/loss/pooling.h"

namespace kvalign {

namespace {

// Collects what one part of the split contributes.
struct Pass {
  bool measure = false, pool = false;
  StatisticsAccumulator statistics = {}, receiver_part = {};
  std::vector<at::Tensor> pooled_BC = {}, labels_B = {};

  TaskHeadData task_data() const { return {at::cat(pooled_BC), at::cat(labels_B)}; }
};

void measure(const PairedBatch& batch, const KvProjector& projector, Pass& pass) {
  const at::Tensor &sender_STd = batch.sender_STd, &receiver_RTD = batch.receiver_RTD;
  pass.statistics.add(projector.plan().gather(sender_STd), receiver_RTD);
  if (!projector.receiver_part()) return;
  pass.receiver_part.add(projector.receiver_plan().gather(receiver_RTD),
                         projector.options().kind == "autoencoder" ? receiver_RTD : sender_STd);
}

void run_pass(BatchLoader& loader, const KvProjector& projector, Pass& pass) {
  const at::NoGradGuard no_grad;
  loader.start(/*epoch=*/0);
  for (PairedBatch batch; loader.next(batch);) {
    if (pass.measure) measure(batch, projector, pass);
    if (pass.pool) {
      pass.pooled_BC.push_back(mean_pool(batch.receiver_RTD, batch.sequence_offsets));
      pass.labels_B.push_back(batch.labels);
    }
  }
}

}  // namespace

Checkpoint make_checkpoint(const Recipe& recipe, const PairedDataset& dataset, const Split& split,
                           std::shared_ptr<KvProjector> projector, std::string metrics) {
  return {.projector = std::move(projector),
          .recipe = options_to_yaml(recipe),
          .metrics = std::move(metrics),
          .dataset_sha256 = dataset.sha256(),
          .split_sha256 = split.sha256,
          .num_sinks = dataset.index().num_sinks,
          .skip_first_tokens = num_skipped_tokens(recipe.dataset, dataset)};
}

LoaderOptions loader_options(const Recipe& recipe, const PairedDataset& dataset, bool shuffle) {
  LoaderOptions options = recipe.loader;
  options.shuffle = shuffle && options.shuffle;
  options.skip_first_tokens = num_skipped_tokens(recipe.dataset, dataset);
  options.seed = recipe.seed;
  return options;
}

std::shared_ptr<const Decoder> open_receiver(const std::string& folder, const std::string& option,
                                             const PairedDataset& dataset, c10::Device device) {
  if (folder.empty()) {
    throw std::invalid_argument("expected " + option +
                                ", the Hugging Face folder of the receiver, got nothing");
  }
  auto receiver = std::make_shared<const Decoder>(Decoder::load(folder, device));
  const KvGeometry& expected = dataset.index().receiver.geometry;
  KvGeometry named = receiver->geometry();
  named.model = expected.model;
  if (named != expected) {
    throw std::runtime_error(option + " " + folder + " is not the receiver of the dataset (" +
                             expected.model + "). Give the folder that was captured");
  }
  if (!dataset.has_token_ids()) {
    throw std::runtime_error(dataset.folder().string() + " has no token_ids, which " + option +
                             " reads. Capture it with kvalign capture");
  }
  return receiver;
}

std::shared_ptr<const ReceiverReading> open_receiver_reading(
    const Recipe& recipe, std::shared_ptr<const PairedDataset> dataset, c10::Device device) {
  if (recipe.loss.attention == 0 && recipe.loss.kl == 0) return nullptr;
  auto receiver = open_receiver(recipe.loss.receiver, "loss.receiver", *dataset, device);
  const auto text = [dataset](int64_t sequence) {
    const PairedBatch batch = dataset->read({sequence});
    return ReceiverText{batch.token_ids, batch.receiver_RTD};
  };
  return std::make_shared<const ReceiverReading>(
      std::move(receiver), text, num_skipped_tokens(recipe.dataset, *dataset),
      recipe.loss.continuation_tokens, recipe.loss.reread);
}

Preparation prepare(const Recipe& recipe, std::shared_ptr<const PairedDataset> dataset,
                    const Split& split, const KvProjector& projector) {
  const bool standardise =
      recipe.projector.standardise_features || recipe.projector.standardise_targets;
  const bool needs_task_head = recipe.loss.task > 0;
  TORCH_CHECK(!needs_task_head || dataset->has_labels(), "distill: loss.task is ", recipe.loss.task,
              ", but the dataset ", dataset->folder().string(),
              " has no labels to train a task head on. Set loss.task=0, or add labels");

  Preparation preparation;
  Pass training{.measure = standardise, .pool = needs_task_head};
  if (standardise || needs_task_head) {
    BatchLoader loader(dataset, split.train, loader_options(recipe, *dataset, /*shuffle=*/false));
    run_pass(loader, projector, training);
  }
  if (standardise) preparation.statistics = training.statistics.finish();
  if (standardise && projector.receiver_part()) {
    preparation.receiver_part = training.receiver_part.finish();
  }
  if (needs_task_head) {
    Pass held_out{.pool = true};
    const auto& sequences = split.validation.empty() ? split.train : split.validation;
    BatchLoader loader(dataset, sequences, loader_options(recipe, *dataset, /*shuffle=*/false));
    run_pass(loader, projector, held_out);
    preparation.task_head =
        train_task_head(training.task_data(), held_out.task_data(), recipe.loss.task_head);
  }
  return preparation;
}

}  // namespace kvalign
