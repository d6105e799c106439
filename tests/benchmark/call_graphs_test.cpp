// What is said of a call's launches, and that a CPU has none. tests/gpu/benchmark captures calls.
#include "src/benchmark/call_graphs.h"

#include <gmock/gmock.h>

#include "tests/support/throws.h"

namespace kvalign::benchmark {
namespace {

TEST(CallGraphs, LaunchesAreNamed) {
  EXPECT_EQ(launches_text({.run = {}, .num_kernels = 1}), "1 kernel");
  EXPECT_EQ(launches_text({.run = {}, .num_kernels = 3, .num_copies = 1}), "3 kernels, 1 copy");
  EXPECT_EQ(launches_text({.run = {}, .num_copies = 2}), "0 kernels, 2 copies");
}

TEST(CallGraphs, AreOfACudaDevice) {
  const auto call = [] { return std::vector<at::Tensor>(); };
  EXPECT_THROWS_WITH(CallGraphs().capture(call, at::kCPU), "call graphs: ");
  CallGraphs graphs;
  EXPECT_THROWS_WITH(in_graph({.name = "ours", .run = call}, graphs, at::kCPU), "call graphs: ");
}

}  // namespace
}  // namespace kvalign::benchmark
