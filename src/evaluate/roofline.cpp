// See roofline.h.
#include "kvalign/evaluate/roofline.h"

#include <algorithm>

namespace kvalign {

double Roofline::seconds() const {
  return std::max(compute_seconds, memory_seconds);
}

std::string Roofline::bound_by() const {
  return memory_seconds > compute_seconds ? "memory" : "compute";
}

Roofline roofline(const Work& work, const Target& target, const std::string& dtype) {
  const ComputeType type = compute_type(target, dtype);
  return {.compute_seconds = work.flops / type.flops_per_second,
          .memory_seconds = work.bytes() / target.memory.bytes_per_second,
          .dtype = type.dtype};
}

}  // namespace kvalign
