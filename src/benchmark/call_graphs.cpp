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

}  // namespace kvalign::benchmark
