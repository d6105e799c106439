// Times our training step: V1, 512 -> 4096, LayerNorm, mse + 0.5 cosine + 1.0 task, AdamW 1e-4. A
// worker for compare_train_step.py: reads "sequences tokens steps" a line, answers with the
// milliseconds of each step as a JSON line. Data are made once a size; batches come from memory, as
// a prefetched one does.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <utility>

#include "kvalign/core/random.h"
#include "kvalign/train/projector_trainer.h"
#include "tests/support/flat_geometry.h"

namespace {

using namespace kvalign;
using testing::flat;

constexpr int64_t kSenderWidth = 512, kReceiverWidth = 4096, kClasses = 2;

PairedBatch make_batch(int64_t sequences, int64_t tokens, at::Generator generator) {
  return {.sender_STd = at::randn({1, sequences * tokens, kSenderWidth}, generator),
          .receiver_RTD = at::randn({1, sequences * tokens, kReceiverWidth}, generator),
          .sequence_offsets = at::arange(0, sequences * tokens + 1, tokens, at::kLong)};
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 1);
  const at::Generator generator = make_generator(1);
  KvProjector projector(
      {.norm = "layer", .standardise_features = false, .standardise_targets = false},
      flat(kSenderWidth), flat(kReceiverWidth));
  const MultiTaskLoss loss(
      {}, TaskHead{at::randn({kClasses, kReceiverWidth}, generator), at::zeros({kClasses})});
  const TrainOptions options;
  ProjectorTrainer trainer(projector, loss, options, at::kCPU);

  std::map<std::pair<int64_t, int64_t>, PairedBatch> batches;
  int64_t sequences = 0, tokens = 0, steps = 0;
  while (std::cin >> sequences >> tokens >> steps) {
    auto [batch, is_new] = batches.try_emplace({sequences, tokens});
    if (is_new) batch->second = make_batch(sequences, tokens, generator);
    std::cout << "[";
    for (int64_t step = 0; step < steps; ++step) {
      const auto start = std::chrono::steady_clock::now();
      trainer.step(batch->second, options.learning_rate, 0);
      const std::chrono::duration<double, std::milli> time =
          std::chrono::steady_clock::now() - start;
      std::cout << (step == 0 ? "" : ", ") << time.count();
    }
    std::cout << "]" << std::endl;
  }
}
