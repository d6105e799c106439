// See closed_form_race.h.
#include "closed_form_race.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "kvalign/core/temporary_folder.h"
#include "kvalign/dataset/generator.h"
#include "kvalign/dataset/split.h"
#include "kvalign/projector/ridge.h"
#include "kvalign/train/projector_trainer.h"

namespace kvalign::benchmark {
namespace {

constexpr double kLongestDescent = 120;  // times the closed form
constexpr int64_t kBatchSequences = 25;  // of 40 tokens: the recipe's 1,024 tokens, in whole ones
constexpr double kLearningRate = 1e-3;   // the recipe's

// The dataset, read into memory: nobody's files are timed.
struct RaceData {
  std::vector<PairedBatch> train;  // in batches
  PairedBatch held_out;
  KvGeometry sender, receiver;
};

RaceData read_generated() {
  const TemporaryFolder folder;
  const std::string data_folder = folder.file("data");
  const DatasetIndex index = generate_paired_dataset(
      {.num_sequences = 400, .tokens_per_sequence = 40, .sequences_per_shard = 100}, data_folder);
  RaceData data{.train = {},
                .held_out = {},
                .sender = index.sender.geometry,
                .receiver = index.receiver.geometry};
  const auto dataset = PairedDataset::open(data_folder);
  const Split split = split_by_sequence(*dataset, {});
  for (size_t begin = 0; begin < split.train.size(); begin += kBatchSequences) {
    const size_t end = std::min(begin + kBatchSequences, split.train.size());
    data.train.push_back(dataset->read({split.train.begin() + static_cast<int64_t>(begin),
                                        split.train.begin() + static_cast<int64_t>(end)}));
  }
  data.held_out = dataset->read(split.validation);
  return data;
}

KvProjector new_projector(const RaceData& data) {
  return KvProjector({.norm = "none"}, data.sender, data.receiver);
}

double held_out_mse(const KvProjector& projector, const PairedBatch& held_out) {
  return at::mse_loss(projector.project(held_out.sender_STd), held_out.receiver_RTD).item<double>();
}

// Sums, decomposition, penalty chosen on the held-out sequences, weights; returns their error.
double fit_closed_form(const RaceData& data) {
  KvProjector projector(
      {.norm = "none", .standardise_features = false, .standardise_targets = false}, data.sender,
      data.receiver);
  const ProjectorShape shape = projector_shape(projector.plan(), data.receiver);
  RidgeStatistics sums(shape), held_out(shape);
  const auto add = [&](RidgeStatistics& to, const PairedBatch& batch) {
    to.add(projector.plan().gather(batch.sender_STd), batch.receiver_RTD);
  };
  for (const PairedBatch& batch : data.train) add(sums, batch);
  add(held_out, data.held_out);
  const Ridge ridge(sums);
  const std::vector<double> lambdas = default_lambdas();
  const int64_t best = ridge.held_out_error(held_out, lambdas).argmin(0).item<int64_t>();
  const RidgeMap map = ridge.solve({lambdas[static_cast<size_t>(best)]});
  auto weights = projector.projector().named_parameters();
  weights["linear.weight"].copy_(map.weight_RDF);
  weights["linear.bias"].copy_(map.bias_RD);
  return held_out_mse(projector, data.held_out);
}

struct Descent {
  int64_t epochs = 0;
  double mse = 0;
  double seconds = 0;  // of training; looking at the held-out sequences is not counted
};

// Epochs until the held-out error is at most `goal`, or the time is up.
Descent descend(const RaceData& data, double goal, double longest_seconds,
                const Stopwatch& stopwatch) {
  KvProjector projector = new_projector(data);
  StatisticsAccumulator statistics;
  for (const PairedBatch& batch : data.train) {
    statistics.add(projector.plan().gather(batch.sender_STd), batch.receiver_RTD);
  }
  projector.projector().set_standardisation(statistics.finish());
  LossOptions mse_alone;
  mse_alone.cosine = mse_alone.task = 0;
  const MultiTaskLoss loss(mse_alone, std::nullopt);
  ProjectorTrainer trainer(projector, loss, TrainOptions(), at::kCPU);
  Descent descent;
  int64_t step = 0;
  do {
    descent.seconds += stopwatch([&] {
      const at::AutoGradMode with_gradients(true);
      for (const PairedBatch& batch : data.train) trainer.step(batch, kLearningRate, step++);
    });
    ++descent.epochs;
    descent.mse = held_out_mse(projector, data.held_out);
  } while (descent.mse > goal && descent.seconds < longest_seconds);
  return descent;
}

Spread once(double number) {
  return {.median = number, .p10 = number, .p90 = number};
}

std::string text_of(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", number);
  return text;
}

std::vector<Measurement> measure_race(const Case& item, const Bench& bench) {
  const RaceData data = read_generated();
  double goal = 0;
  const double closed_seconds = bench.stopwatch([&] { goal = fit_closed_form(data); });
  const Descent descent = descend(data, goal, kLongestDescent * closed_seconds, bench.stopwatch);
  const std::string reached = descent.mse <= goal ? "" : ", not there yet";
  Measurement closed{.suite = item.suite,
                     .case_name = item.name,
                     .variant = "closed form",
                     .detail = "mse " + text_of(goal),
                     .dtype = dtype_name(item.dtype),
                     .device = bench.device.str(),
                     .threads = bench.threads,
                     .buffers = "cold",
                     .rounds = 1,
                     .repetitions = 1,
                     .milliseconds = once(1e3 * closed_seconds),
                     .first_call_ms = 1e3 * closed_seconds,
                     .ratios = {},
                     .noise = once(std::nan("")),
                     .percent_of_peak = std::nan(""),
                     .percent_of_copy = std::nan("")};
  Measurement adamw = closed;
  adamw.variant = "adamw";
  adamw.detail = "mse " + text_of(descent.mse) + " after " + std::to_string(descent.epochs) +
                 " epochs" + reached;
  adamw.milliseconds = once(1e3 * descent.seconds);
  adamw.first_call_ms = 1e3 * descent.seconds;
  const Spread ratio = once(closed_seconds / descent.seconds);
  closed.ratios = {{.baseline = "adamw", .ratio = ratio, .verdict = judge(ratio, 1)}};
  return {closed, adamw};
}

}  // namespace

Case closed_form_race() {
  Case race{.suite = "training",
            .name = "V1 512 -> 4096 without norm to the closed form's held-out error",
            .dtype = at::kFloat};
  race.measure = [race](const Bench& bench) { return measure_race(race, bench); };
  return race;
}

}  // namespace kvalign::benchmark
