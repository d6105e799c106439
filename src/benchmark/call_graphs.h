// Calls as CUDA graphs: what a call starts on the device is recorded once and started again as a
// whole, without the host's part of each start. Private to benchmark/; in builds without CUDA there
// are none.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kvalign/benchmark/case.h"

namespace at::cuda {
struct CUDAGraph;
}

namespace kvalign::benchmark {

struct CapturedCall {
  /// On the current stream; the same tensors every time.
  std::function<std::vector<at::Tensor>()> run;
  int64_t num_kernels = 0;
  int64_t num_copies = 0;  ///< and memory sets, by the device's copy engines
};

/// "1 kernel", "3 kernels, 1 copy".
std::string launches_text(const CapturedCall& call);

/// Graphs that run one after the other and therefore share the memory for what is neither input nor
/// output: a result may be overwritten by the next graph that runs.
class CallGraphs {
 public:
  /// Calls twice, once to warm up. `call` reads and writes the same memory every time, on the
  /// current stream of `device`, and waits for nothing. Throws c10::Error where it cannot be
  /// recorded, and in a build without CUDA.
  CapturedCall capture(const std::function<std::vector<at::Tensor>()>& call, at::Device device);

 private:
  std::optional<c10::Stream> stream_;         ///< that all are recorded on, with its memory
  std::weak_ptr<at::cuda::CUDAGraph> first_;  ///< whose memory later ones share while it is there
};

/// The same as one graph, named "..., graph"; its detail is what one call launches.
Subject in_graph(Subject subject, CallGraphs& graphs, at::Device device);

/// A kernel of one thread that does nothing, on the current CUDA stream. Throws as capture.
void launch_empty_kernel();

}  // namespace kvalign::benchmark
