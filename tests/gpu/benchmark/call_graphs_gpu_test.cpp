// Calls as CUDA graphs: they compute what the call does, from what its inputs hold now; and what
// one projection launches, which decides its time where tokens are few.
#include "src/benchmark/call_graphs.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "kvalign/benchmark/case.h"
#include "kvalign/projector/frozen_projector.h"
#include "kvalign/projector/kv_projector.h"
#include "tests/support/flat_geometry.h"

namespace kvalign::benchmark {
namespace {

using Tensors = std::vector<at::Tensor>;

KvGeometry layers(int64_t num_layers, int64_t num_kv_heads, int64_t head_dim) {
  return {.model = "layers",
          .num_layers = num_layers,
          .num_kv_heads = num_kv_heads,
          .head_dim = head_dim,
          .rope = RopeOptions{},
          .sliding_window_layers = {}};
}

at::Tensor on_device(at::IntArrayRef sizes, at::ScalarType dtype) {
  return at::randn(sizes, at::device(at::kCUDA).dtype(dtype));
}

class CallGraphsOnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  }

  // One call of a frozen projector as a graph, compared with the call itself.
  CapturedCall capture(const ProjectorOptions& options, const KvGeometry& sender,
                       const KvGeometry& receiver, int64_t tokens, at::ScalarType dtype) {
    const KvProjector projector(options, sender, receiver);
    const at::NoGradGuard no_gradients;
    for (at::Tensor& parameter : projector.projector().parameters()) parameter.normal_(0, 0.5);
    projector.projector().to(at::kCUDA);
    const auto frozen = std::make_shared<const FrozenProjector>(projector, dtype);
    at::Tensor sender_STd = on_device({num_streams(sender), tokens, sender.width()}, dtype);
    CapturedCall captured =
        graphs_.capture([=] { return Tensors{frozen->project(sender_STd)}; }, kDevice);
    for (int input = 0; input < 2; ++input) {
      sender_STd.normal_();
      const at::Tensor expected = frozen->project(sender_STd).clone();
      EXPECT_LT(relative_error(captured.run(), {expected}), usual_error_limit(dtype));
    }
    return captured;
  }

  const at::Device kDevice = at::Device(at::kCUDA, 0);
  CallGraphs graphs_;
};

// The product with its bias and the norm; a product of few tokens may be summed in parts, by one
// kernel more.
TEST_F(CallGraphsOnGpu, AStreamWithItsNormIsAtMostThreeKernels) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const int64_t tokens : {1, 100}) {
      for (const char* norm : {"layer", "rms"}) {
        const CapturedCall call =
            capture({.norm = norm}, testing::flat(512), testing::flat(4096), tokens, dtype);
        EXPECT_LE(call.num_kernels + call.num_copies, 3)
            << launches_text(call) << ": " << dtype << ", " << tokens << " tokens, " << norm;
      }
    }
  }
}

// The features of all layers side by side, the product of all streams, and a sum of its parts.
TEST_F(CallGraphsOnGpu, AllStreamsOfAllLayersAreAtMostThreeLaunches) {
  const LayerMapOptions all = {.kind = "all", .features = "both"};
  const CapturedCall call = capture({.norm = "none", .layer_map = all}, layers(6, 2, 64),
                                    layers(7, 2, 64), 32, at::kBFloat16);
  EXPECT_LE(call.num_kernels + call.num_copies, 3) << launches_text(call);
}

// Features are the sender's as they lie; the bias is written before the product is added, and that
// may be summed in parts.
TEST_F(CallGraphsOnGpu, StreamsOfTheirOwnLayerAreAtMostThreeLaunches) {
  const CapturedCall call =
      capture({.norm = "none"}, layers(6, 2, 64), layers(6, 2, 64), 32, at::kBFloat16);
  EXPECT_LE(call.num_kernels + call.num_copies, 3) << launches_text(call);
}

TEST_F(CallGraphsOnGpu, GraphsThatShareMemoryRunOneAfterTheOther) {
  const at::Tensor input = on_device({1000}, at::kFloat);
  std::vector<CapturedCall> calls;
  for (int factor = 1; factor <= 3; ++factor) {
    calls.push_back(graphs_.capture([=] { return Tensors{(input * factor).neg() + 1}; }, kDevice));
    EXPECT_EQ(calls.back().num_kernels, 3);
  }
  for (int factor = 1; factor <= 3; ++factor) {
    const at::Tensor got = calls[static_cast<size_t>(factor - 1)].run()[0];
    EXPECT_TRUE(at::allclose(got, 1 - factor * input));
  }
}

TEST_F(CallGraphsOnGpu, KernelsAndCopiesAreCounted) {
  const at::Tensor from = on_device({1000}, at::kFloat), to = at::empty_like(from);
  const CapturedCall call = graphs_.capture(
      [=] {
        for (int i = 0; i < 5; ++i) launch_empty_kernel();
        to.copy_(from);
        return Tensors{to};
      },
      kDevice);
  EXPECT_EQ(launches_text(call), "5 kernels, 1 copy");
  to.zero_();
  EXPECT_TRUE(at::equal(call.run()[0], from));
}

}  // namespace
}  // namespace kvalign::benchmark
