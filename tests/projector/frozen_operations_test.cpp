// What one call gives a GPU to do: each of LibTorch's operations that writes memory is a kernel, or
// a few, to be started. Counted on the device without memory, "meta", which is no CPU either; it
// has no norms, which are one operation more, and no index_select, which on a GPU stands for cat.
// tests/gpu/benchmark counts the kernels themselves.
#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <gmock/gmock.h>

#include <memory>
#include <set>

#include "kvalign/projector/feature_plan.h"
#include "src/projector/frozen_output.h"

namespace kvalign {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Operations = std::vector<std::string>;

Operations* recorded_operations = nullptr;  // of the recording in progress

std::unique_ptr<at::ObserverContext> record_operation(const at::RecordFunction& function) {
  // Those that write do it by another: to, reshape and clone by copy_, stack by cat.
  static const std::set<std::string> views_and_allocations = {
      "aten::as_strided", "aten::clone",  "aten::empty",       "aten::empty_like",
      "aten::expand",     "aten::narrow", "aten::reshape",     "aten::select",
      "aten::slice",      "aten::stack",  "aten::to",          "aten::transpose",
      "aten::unsqueeze",  "aten::view",   "aten::_unsafe_view"};
  if (!views_and_allocations.contains(function.name())) {
    recorded_operations->push_back(function.name());
  }
  return nullptr;
}

template <class Call>
Operations operations_of(const Call& call) {
  const at::NoGradGuard no_gradients;
  Operations operations;
  recorded_operations = &operations;
  const at::CallbackHandle handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(record_operation).scopes({at::RecordScope::FUNCTION}));
  const auto removed = std::shared_ptr<void>(nullptr, [=](void*) { at::removeCallback(handle); });
  call();
  return operations;
}

at::Tensor without_memory(at::IntArrayRef sizes, at::ScalarType dtype) {
  return at::empty(sizes, at::device(at::kMeta).dtype(dtype));
}

Operations operations_of_output(int64_t num_groups, int64_t num_streams) {
  const ProjectorShape shape = {
      .num_groups = num_groups, .num_features = 24, .num_streams = num_streams, .width = 32};
  const auto map_of = [&](int64_t) {
    return StreamMap{.weight_DF = without_memory({shape.width, shape.num_features}, at::kDouble),
                     .bias_D = without_memory({shape.width}, at::kDouble)};
  };
  const FrozenOutput output(shape, map_of, /*norm=*/{}, {.dtype = at::kBFloat16});
  const at::Tensor features_GTF =
      without_memory({num_groups, 7, shape.num_features}, at::kBFloat16);
  return operations_of([&] { output.run(features_GTF); });
}

TEST(FrozenOperations, OneProductForAllStreamsThatShareFeatures) {
  EXPECT_THAT(operations_of_output(1, 1), ElementsAre("aten::addmm"));
  EXPECT_THAT(operations_of_output(1, 6), ElementsAre("aten::addmm"));
  EXPECT_THAT(operations_of_output(2, 6), ElementsAre("aten::addmm", "aten::addmm"));
}

// The product is added to its bias, which LibTorch writes into the output first.
TEST(FrozenOperations, OneProductForAllStreamsOfTheirOwnFeatures) {
  EXPECT_THAT(operations_of_output(6, 6), ElementsAre("aten::baddbmm", "aten::copy_"));
}

TEST(FrozenOperations, FeaturesAreCopiedAtMostOnce) {
  const auto geometry = [](int64_t num_layers) {
    return KvGeometry{.model = "layers",
                      .num_layers = num_layers,
                      .num_kv_heads = 2,
                      .head_dim = 8,
                      .rope = RopeOptions{},
                      .sliding_window_layers = {}};
  };
  const auto operations = [&](int64_t receiver_layers, const LayerMapOptions& map) {
    const FeaturePlan plan(geometry(3), geometry(receiver_layers), map);
    const at::Tensor sender_STd = without_memory({6, 7, 16}, at::kBFloat16);
    return operations_of([&] { plan.gather(sender_STd); });
  };
  EXPECT_THAT(operations(3, {.kind = "nearest_depth", .features = "own"}), IsEmpty());
  EXPECT_THAT(operations(4, {.kind = "nearest_depth", .features = "own"}),
              ElementsAre("aten::cat"));
  EXPECT_THAT(operations(4, {.kind = "all", .features = "both"}), ElementsAre("aten::copy_"));
}

}  // namespace
}  // namespace kvalign
