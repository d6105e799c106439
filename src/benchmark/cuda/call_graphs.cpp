// LibTorch's graphs, for their private memory; the runtime counts what they hold. See
// call_graphs.h.
#include "src/benchmark/call_graphs.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>

#include "src/benchmark/cuda/empty_kernel.h"

namespace kvalign::benchmark {
namespace {

void count_nodes(cudaGraph_t graph, CapturedCall& call) {
  size_t count = 0;
  C10_CUDA_CHECK(cudaGraphGetNodes(graph, nullptr, &count));
  std::vector<cudaGraphNode_t> nodes(count);
  C10_CUDA_CHECK(cudaGraphGetNodes(graph, nodes.data(), &count));
  for (const cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
    C10_CUDA_CHECK(cudaGraphNodeGetType(node, &type));
    if (type == cudaGraphNodeTypeKernel) ++call.num_kernels;
    if (type == cudaGraphNodeTypeMemcpy || type == cudaGraphNodeTypeMemset) ++call.num_copies;
  }
}

}  // namespace

CapturedCall CallGraphs::capture(const std::function<std::vector<at::Tensor>()>& call,
                                 at::Device device) {
  TORCH_CHECK(device.is_cuda(), "call graphs: expected a CUDA device, got ", device);
  const c10::cuda::CUDAGuard device_guard(device);
  // What the call reads was made on another stream, and a first call loads kernels and allocates
  // workspaces, which none may do while it is recorded.
  c10::cuda::device_synchronize();
  const auto graph = std::make_shared<at::cuda::CUDAGraph>(/*keep_graph=*/true);
  std::vector<at::Tensor> outputs;
  {
    if (!stream_) stream_ = c10::cuda::getStreamFromPool();
    const c10::cuda::CUDAStreamGuard stream_guard(*stream_);
    call();
    c10::cuda::device_synchronize();
    const auto first = first_.lock();
    graph->capture_begin(first ? first->pool() : c10::MempoolId_t{0, 0});
    outputs = call();
    graph->capture_end();
    if (!first) first_ = graph;
  }
  CapturedCall captured;
  count_nodes(graph->raw_cuda_graph(), captured);
  graph->instantiate();
  captured.run = [graph, outputs] {
    // Not graph->replay(), which also sets the state of the random generators.
    C10_CUDA_CHECK(
        cudaGraphLaunch(graph->raw_cuda_graph_exec(), c10::cuda::getCurrentCUDAStream()));
    return outputs;
  };
  return captured;
}

void launch_empty_kernel() {
  TORCH_CHECK(cuda::launch_empty_kernel(c10::cuda::getCurrentCUDAStream()),
              "empty kernel: it could not be started");
}

}  // namespace kvalign::benchmark
