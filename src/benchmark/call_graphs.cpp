// See call_graphs.h.
#include "call_graphs.h"

namespace kvalign::benchmark {
namespace {

std::string counted(int64_t count, const std::string& one, const std::string& many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

}  // namespace

std::string launches_text(const CapturedCall& call) {
  const std::string kernels = counted(call.num_kernels, "kernel", "kernels");
  return call.num_copies == 0 ? kernels
                              : kernels + ", " + counted(call.num_copies, "copy", "copies");
}

Subject in_graph(Subject subject, CallGraphs& graphs, at::Device device) {
  const CapturedCall captured = graphs.capture(subject.run, device);
  subject.name += ", graph";
  subject.detail = launches_text(captured);
  subject.run = captured.run;
  return subject;
}

}  // namespace kvalign::benchmark
