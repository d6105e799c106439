// Suite training: a step of V1 512 -> 4096 beside the same step in LibTorch's autograd, and the
// closed form beside descent to the same held-out error (closed_form_race.h).
#include <ATen/ATen.h>

#include <memory>

#include "closed_form_race.h"
#include "eager_step.h"
#include "kvalign/core/random.h"
#include "kvalign/train/projector_trainer.h"
#include "projector_case.h"
#include "suites.h"

namespace kvalign::benchmark {
namespace {

constexpr int64_t kSenderWidth = 512, kReceiverWidth = 4096, kClasses = 2, kTokens = 100;
// Gradients of biases are sums over all tokens, whose terms cancel; in float32.
constexpr double kGradientError = 1e-4;

// A trainer with all that it borrows.
struct OurStep {
  OurStep(const KvProjector& start, const StepData& data)
      : projector(start.options(), start.sender(), start.receiver()),
        loss({}, data.head),
        trainer((copy_weights(start, projector), projector), loss, options, at::kCPU) {
    const int64_t sequences = data.sender_BTd.size(0);
    batch.sender_STd = data.sender_BTd.flatten(0, 1).unsqueeze(0);
    batch.receiver_RTD = data.receiver_BTD.flatten(0, 1).unsqueeze(0);
    batch.sequence_offsets = at::arange(0, sequences * kTokens + 1, kTokens, at::kLong);
  }

  static void copy_weights(const KvProjector& from, KvProjector& to) {
    const auto named = from.projector().named_parameters();
    for (auto& parameter : to.projector().named_parameters()) {
      parameter.value().copy_(named[parameter.key()]);
    }
  }

  // The loss and the gradients of weight, bias, gamma and beta, as EagerStep has them.
  std::vector<at::Tensor> step() {
    const at::AutoGradMode with_gradients(true);
    std::vector<at::Tensor> outcome = {trainer.step(batch, options.learning_rate, 0).loss.total};
    for (const at::Tensor& parameter : projector.projector().parameters()) {
      outcome.push_back(parameter.grad()[0]);
    }
    return outcome;
  }

  KvProjector projector;
  MultiTaskLoss loss;
  TrainOptions options;
  ProjectorTrainer trainer;
  PairedBatch batch;
};

StepData random_data(int64_t sequences, uint64_t seed) {
  const auto random = [&](at::IntArrayRef sizes, uint64_t stream) {
    return random_tensor(sizes, at::kFloat, at::kCPU, derive_seed(seed, stream));
  };
  return {.sender_BTd = random({sequences, kTokens, kSenderWidth}, 3),
          .receiver_BTD = random({sequences, kTokens, kReceiverWidth}, 4),
          .head = {.weight_KC = random({kClasses, kReceiverWidth}, 5),
                   .bias_K = random({kClasses}, 6)}};
}

std::vector<Subject> step_subjects(int64_t sequences, uint64_t seed) {
  const KvProjector start =
      random_projector({.norm = "layer"}, flat_geometry(kSenderWidth),
                       flat_geometry(kReceiverWidth), at::kFloat, at::kCPU, seed);
  const StepData data = random_data(sequences, seed);
  const auto ours = std::make_shared<OurStep>(start, data);
  const double learning_rate = ours->options.learning_rate;
  const auto eager = std::make_shared<EagerStep>(start, at::kFloat, learning_rate);
  // Of the first step, whose weights are the same; what follows depends on their last bits.
  const auto reference = made_once(
      [=] { return EagerStep(start, at::kDouble, learning_rate).step(data.to(at::kDouble)); });
  return {{.name = "ours",
           .run = [=] { return ours->step(); },
           .reference = reference,
           .error_limit = kGradientError},
          {.name = "eager",
           .run = [=] { return eager->step(data); },
           .reference = reference,
           .is_baseline = true,
           .error_limit = kGradientError}};
}

Case step_case(int64_t sequences) {
  const auto tokens = static_cast<double>(sequences * kTokens);
  const double weights = kSenderWidth * kReceiverWidth;
  // Products: forward, and the gradient of the weights. Weights, two moments and a gradient cross
  // the bus; features and targets do once.
  return {.suite = "training",
          .name = "step of V1 512 -> 4096, " + std::to_string(sequences) + " x 100 tokens",
          .dtype = at::kFloat,
          .flops = 4 * tokens * weights,
          .bytes = 4 * (7 * weights + tokens * (kSenderWidth + kReceiverWidth)),
          .hot = false,
          .make = [=](uint64_t seed) { return step_subjects(sequences, seed); }};
}

}  // namespace

std::vector<Case> training_cases(const SuiteSetup& setup) {
  if (!setup.device.is_cpu()) {
    setup.on_skipped("training: measured on the CPU alone, from whose memory its batches come");
    return {};
  }
  return {step_case(8), step_case(256), closed_form_race()};
}

}  // namespace kvalign::benchmark
