// A build without a CUDA toolkit has no graphs. See call_graphs.h.
#include "src/benchmark/call_graphs.h"

#include <c10/util/Exception.h>

namespace kvalign::benchmark {

CapturedCall CallGraphs::capture(const std::function<std::vector<at::Tensor>()>&, at::Device) {
  TORCH_CHECK(false, "call graphs: this build has no CUDA");
}

void launch_empty_kernel() {
  TORCH_CHECK(false, "empty kernel: this build has no CUDA");
}

}  // namespace kvalign::benchmark
