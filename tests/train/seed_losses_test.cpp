// Our training step follows the pseudo-code of the first design, as Python torch ran it, loss by
// loss (tests/golden/seed_losses.json says how weights and data are made).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "kvalign/train/projector_trainer.h"
#include "tests/support/flat_geometry.h"
#include "tests/support/golden_fill.h"

namespace kvalign {
namespace {

using testing::flat;
using testing::golden_fill;

nlohmann::json golden() {
  std::ifstream file(KVALIGN_SOURCE_DIR "/tests/golden/seed_losses.json");
  return nlohmann::json::parse(file);
}

at::Tensor filled(const nlohmann::json& fill) {
  return golden_fill(fill["shape"].get<std::vector<int64_t>>(), fill["seed"].get<uint64_t>(),
                     fill["scale"].get<double>());
}

// Every weight of `module` that the golden file fills under `prefix`; the others keep 0 and 1.
void fill_weights(Projector& module, const nlohmann::json& fills, const std::string& prefix) {
  const at::NoGradGuard no_grad;
  size_t num_filled = 0;
  for (const auto& item : module.named_parameters()) {
    const auto fill = fills.find(prefix + item.key());
    if (fill == fills.end()) continue;
    item.value().copy_(filled(*fill).view_as(item.value()));
    ++num_filled;
  }
  ASSERT_EQ(num_filled, prefix == "v1." ? 1u : 4u) << "the module's names have changed";
}

PairedBatch make_batch(int64_t number) {
  return {.sender_STd = golden_fill({1, 64, 512}, 100 + number, 1.0),
          .receiver_RTD = golden_fill({1, 64, 4096}, 200 + number, 2.0),
          .sequence_offsets = at::arange(0, 65, 16, at::kLong)};
}

void expect_golden_losses(const std::string& name, const std::string& kind) {
  const nlohmann::json file = golden();
  const nlohmann::json& fills = file["recipe"]["fill"];
  const ProjectorOptions options{
      .kind = kind, .norm = "layer", .standardise_features = false, .standardise_targets = false};
  KvProjector projector(options, flat(512), flat(4096));
  fill_weights(projector.projector(), fills, name + ".");
  const MultiTaskLoss loss({}, TaskHead{filled(fills["head.weight"]), filled(fills["head.bias"])});
  const TrainOptions train;
  ProjectorTrainer trainer(projector, loss, train, at::kCPU);

  std::vector<PairedBatch> batches;
  for (int64_t number = 0; number < 4; ++number) batches.push_back(make_batch(number));
  const auto expected = file[name].get<std::vector<double>>();
  for (size_t step = 0; step < expected.size(); ++step) {
    const StepOutcome outcome =
        trainer.step(batches[step % 4], train.learning_rate, static_cast<int64_t>(step));
    EXPECT_NEAR(outcome.loss.total.item<double>(), expected[step], 1e-5 * expected[step])
        << name << " step " << step;
  }
}

TEST(SeedLosses, LinearFollowsPythonFor100Steps) {
  expect_golden_losses("v1", "linear_residual");
}

TEST(SeedLosses, MlpFollowsPythonFor20Steps) {
  expect_golden_losses("v2", "mlp");
}

}  // namespace
}  // namespace kvalign
