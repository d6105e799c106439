// The step itself, and the counters that live on the device.
#include "kvalign/train/projector_trainer.h"

#include <ATen/ATen.h>

#include "autocast.h"
#include "named_tensors.h"

namespace kvalign {

namespace {

NamedParameters trained_parameters(const Projector& projector, const NamedParameters& head) {
  NamedParameters parameters = head;
  for (const auto& item : projector.named_parameters()) {
    if (item.value().requires_grad()) parameters.emplace_back(item.key(), item.value());
  }
  TORCH_CHECK(!parameters.empty(),
              "ProjectorTrainer: this kind of projector has no weights to train, so there is "
              "nothing to train. "
              "Baselines are evaluated as they are");
  return parameters;
}

// Pinned memory lets the copy overlap with what the device is doing; on the CPU nothing is copied.
at::Tensor to_device(const at::Tensor& tensor, c10::Device device) {
  return device.is_cuda() ? tensor.pin_memory().to(device, /*non_blocking=*/true) : tensor;
}

// Undefined where the dataset has none.
at::Tensor labels_on(c10::Device device, const PairedBatch& batch) {
  return batch.labels.defined() ? to_device(batch.labels, device) : batch.labels;
}

}  // namespace

ProjectorTrainer::ProjectorTrainer(KvProjector& projector, const MultiTaskLoss& loss,
                                   const TrainOptions& options, c10::Device device,
                                   const NamedParameters& head, const RoundTripLoss* round_trip)
    : projector_(projector),
      loss_(loss),
      round_trip_(round_trip),
      options_(options),
      device_(device),
      optimiser_(trained_parameters(projector.projector(), head),
                 {.weight_decay = options.weight_decay,
                  .beta1 = options.beta1,
                  .beta2 = options.beta2,
                  .epsilon = options.epsilon}),
      skipped_steps_(at::zeros({3}, at::TensorOptions(device).dtype(at::kDouble))) {
  for (const int64_t rank : options_.ranks) projector.projector().use_rank(rank);
  projector.projector().use_rank(0);
}

LossValue ProjectorTrainer::loss_of(const PairedBatch& batch, bool autocast,
                                    std::optional<int64_t> step) const {
  const at::Tensor sender_STd = to_device(batch.sender_STd, device_);
  const at::Tensor receiver_RTD = to_device(batch.receiver_RTD, device_);
  at::Tensor predicted_RTD;
  std::vector<RoundTrip> trips;
  {
    const AutocastScope scope(device_.type(), autocast);
    predicted_RTD = projector_.project(sender_STd);
    if (round_trip_) {
      trips = round_trip_->run(projector_, sender_STd, receiver_RTD, predicted_RTD,
                               batch.sequence_offsets);
    }
  }
  LossValue loss = loss_.compute({.predicted_RTD = predicted_RTD,
                                  .target_RTD = receiver_RTD,
                                  .sequence_offsets = batch.sequence_offsets,
                                  .sequences = batch.sequences,
                                  .step = step,
                                  .labels_B = labels_on(device_, batch)});
  if (round_trip_) round_trip_->add_to(loss, trips, batch.sequence_offsets);
  return loss;
}

StepOutcome ProjectorTrainer::step(const PairedBatch& batch, double learning_rate, int64_t number) {
  const std::vector<int64_t>& ranks = options_.ranks;
  if (!ranks.empty()) {
    projector_.projector().use_rank(ranks[static_cast<size_t>(number) % ranks.size()]);
  }
  LossValue loss = loss_of(batch, options_.autocast == "bfloat16", number);
  projector_.projector().use_rank(0);
  optimiser_.zero_grad();
  loss.total.backward();
  loss.total = loss.total.detach();

  const StepControl control = optimiser_.measure_gradients(options_.gradient_clip);
  optimiser_.step(learning_rate, control);

  const at::Tensor skipped = control.found_inf.to(at::kDouble);
  const at::Tensor present_row = (skipped_steps_[1] + 1) * skipped;
  skipped_steps_ = at::stack(
      {skipped_steps_[0] + skipped, present_row, at::maximum(skipped_steps_[2], present_row)});
  return {std::move(loss), control.grad_norm};
}

LossValue ProjectorTrainer::evaluate(const PairedBatch& batch) const {
  const at::NoGradGuard no_grad;
  return loss_of(batch, /*autocast=*/false, std::nullopt);
}

SkippedSteps ProjectorTrainer::skipped_steps() const {
  const at::Tensor counts = skipped_steps_.cpu();
  const double* count = counts.const_data_ptr<double>();
  return {.total = static_cast<int64_t>(count[0]), .longest_row = static_cast<int64_t>(count[2])};
}

std::vector<NamedTensor> ProjectorTrainer::state() const {
  std::vector<NamedTensor> tensors = named_tensors(projector_.projector(), "module.");
  for (const NamedTensor& tensor : optimiser_.state()) {
    tensors.push_back({"optimiser." + tensor.name, tensor.tensor});
  }
  tensors.push_back({"skipped_steps", skipped_steps_});
  return tensors;
}

void ProjectorTrainer::load_state(const std::vector<NamedTensor>& tensors) {
  copy_by_name(state(), tensors, "ProjectorTrainer::load_state");
}

}  // namespace kvalign
