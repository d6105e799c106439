// Suite projection: one stream, the shapes of the project's first design and others around them.
#include <initializer_list>
#include <utility>

#include "projector_case.h"
#include "suites.h"

namespace kvalign::benchmark {
namespace {

struct FlatShape {
  int64_t sender_width = 512;
  int64_t receiver_width = 4096;
  int64_t sequences = 1;
  int64_t tokens = 100;
  const char* kind = "linear_residual";
};

ProjectorShapeCase flat_case(const FlatShape& shape, at::ScalarType dtype) {
  const std::string version = shape.kind == std::string("mlp") ? "V2 " : "V1 ";
  return {.suite = "projection",
          .name = version + std::to_string(shape.sender_width) + " -> " +
                  std::to_string(shape.receiver_width),
          .options = {.kind = shape.kind, .norm = "layer", .hidden_size = 1024},
          .sender = flat_geometry(shape.sender_width),
          .receiver = flat_geometry(shape.receiver_width),
          .sequences = shape.sequences,
          .tokens = shape.tokens,
          .dtype = dtype};
}

}  // namespace

std::vector<Case> projection_cases(const SuiteSetup& setup) {
  const std::initializer_list<FlatShape> everywhere = {
      {.tokens = 1},
      {.tokens = 100},
      {.sender_width = 64},
      {.sender_width = 65, .receiver_width = 1001, .tokens = 7},
      {.kind = "mlp"}};
  const std::initializer_list<FlatShape> further = {{.sequences = 8},
                                                    {.sequences = 8, .tokens = 1024},
                                                    {.sender_width = 128},
                                                    {.sender_width = 256},
                                                    {.sender_width = 1024},
                                                    {.sender_width = 1024, .receiver_width = 1024},
                                                    {.tokens = 1, .kind = "mlp"},
                                                    {.sequences = 8, .kind = "mlp"}};
  std::vector<Case> cases;
  const auto add = [&](const FlatShape& shape, at::ScalarType dtype) {
    cases.push_back(projector_case(flat_case(shape, dtype), setup.device, setup.stopwatch));
  };
  for (const FlatShape& shape : everywhere) add(shape, at::kFloat);
  for (const FlatShape& shape : further) add(shape, at::kFloat);
  for (const FlatShape& shape : everywhere) add(shape, at::kBFloat16);
  // CPUs without bfloat16 instructions take seconds for the large ones.
  if (!setup.device.is_cpu()) {
    for (const FlatShape& shape : further) add(shape, at::kBFloat16);
  }
  return cases;
}

}  // namespace kvalign::benchmark
