// Training and projection on a CUDA device give what the CPU gives, up to the order of sums.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kvalign/core/temporary_folder.h"
#include "kvalign/projector/frozen_projector.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/distiller.h"
#include "tests/support/flat_geometry.h"
#include "tests/train/tiny_run.h"

namespace kvalign::testing {
namespace {

KvGeometry layers(int64_t num_layers, int64_t num_kv_heads, int64_t head_dim) {
  return {.model = "layers",
          .num_layers = num_layers,
          .num_kv_heads = num_kv_heads,
          .head_dim = head_dim,
          .rope = RopeOptions{}};
}

class OnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  }
};

TEST_F(OnGpu, LossesFollowTheCpu) {
  TemporaryFolder folder;
  make_tiny_dataset(folder.file("pairs"));
  Recipe recipe = tiny_recipe(folder.file("pairs"), folder.file("cpu"));
  distill(recipe);
  recipe.run_folder = folder.file("gpu");
  recipe.device = "cuda:0";
  distill(recipe);

  const std::vector<double> cpu = read_losses(folder.file("cpu"));
  const std::vector<double> gpu = read_losses(folder.file("gpu"));
  ASSERT_EQ(cpu.size(), gpu.size());
  // 30 steps of float32 with another order of sums: eps * sqrt(16 features) * steps, about 1e-5.
  for (size_t step = 0; step < cpu.size(); ++step) {
    EXPECT_NEAR(gpu[step] / cpu[step], 1.0, 1e-4) << "step " << step;
  }
}

TEST_F(OnGpu, TheClosedFormFollowsTheCpu) {
  TemporaryFolder folder;
  make_tiny_dataset(folder.file("pairs"));
  const auto weights = [&](const std::string& device) {
    Recipe recipe = tiny_recipe(folder.file("pairs"), folder.file("closed_" + device));
    recipe.fit.kind = "ridge";
    recipe.projector.norm = "none";
    recipe.device = device;
    distill(recipe);
    const Checkpoint checkpoint =
        load_checkpoint(folder.file("closed_" + device + "/checkpoint.safetensors"));
    return checkpoint.projector->projector().named_parameters()["linear.weight"];
  };
  const at::Tensor on_cpu = weights("cpu"), on_gpu = weights("cuda");
  EXPECT_LT((on_gpu - on_cpu).norm().item<double>() / on_cpu.norm().item<double>(), 1e-5);
}

TEST_F(OnGpu, FrozenProjectorsFollowTheCpu) {
  const LayerMapOptions all = {.kind = "all", .features = "both"};
  for (const std::string norm : {"none", "rms", "layer"}) {
    for (const bool flat : {true, false}) {
      SCOPED_TRACE(norm + (flat ? ", flat" : ", layers"));
      const KvGeometry sender = flat ? testing::flat(16) : layers(2, 2, 8);
      const KvGeometry receiver = flat ? testing::flat(48) : layers(3, 2, 12);
      const KvProjector projector({.norm = norm, .layer_map = all}, sender, receiver);
      const at::Tensor sender_STd = at::randn({num_streams(sender), 37, 16});
      const at::Tensor on_cpu = FrozenProjector(projector).project(sender_STd);
      projector.projector().to(at::kCUDA);
      for (const auto& [dtype, limit] : {std::pair{at::kFloat, 1e-5}, {at::kBFloat16, 2e-2}}) {
        const at::Tensor on_gpu = FrozenProjector(projector, dtype)
                                      .project(sender_STd.to(at::kCUDA))
                                      .to(at::kCPU, at::kFloat);
        EXPECT_LT((on_gpu - on_cpu).norm().item<double>() / on_cpu.norm().item<double>(), limit);
      }
    }
  }
}

TEST_F(OnGpu, ProjectionFollowsTheCpu) {
  TemporaryFolder folder;
  make_tiny_dataset(folder.file("pairs"));
  distill(tiny_recipe(folder.file("pairs"), folder.file("run")));
  Checkpoint checkpoint = load_checkpoint(folder.file("run/checkpoint.safetensors"));

  const at::Tensor sender_STd = at::randn({1, 37, 16});
  const at::Tensor on_cpu = checkpoint.projector->project(sender_STd);
  checkpoint.projector->projector().to(at::kCUDA);
  const at::Tensor on_gpu = checkpoint.projector->project(sender_STd.to(at::kCUDA)).cpu();
  EXPECT_LT((on_gpu - on_cpu).norm().item<double>() / on_cpu.norm().item<double>(), 1e-5);
}

}  // namespace
}  // namespace kvalign::testing
