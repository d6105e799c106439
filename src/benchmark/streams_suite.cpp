// Suite streams: all 56 streams of a pair of models at once, by layer map and rank, and 64 of the
// flat case.
#include "projector_case.h"
#include "qwen_pair.h"
#include "suites.h"

namespace kvalign::benchmark {
namespace {

struct StreamsKind {
  std::string name;
  ProjectorOptions options;
  bool with_separate_calls = false;  // of the case with 32 tokens
};

std::vector<StreamsKind> pair_kinds() {
  const LayerMapOptions all = {.kind = "all", .features = "both"};
  std::vector<StreamsKind> kinds = {{"own layer", {.norm = "none"}, true},
                                    {"all layers", {.norm = "none", .layer_map = all}, true}};
  for (const int64_t rank : {64, 256, 512, 1024}) {
    // In float32: codes would hide what the products' order changes.
    kinds.push_back({"rank " + std::to_string(rank),
                     {.kind = "low_rank",
                      .norm = "none",
                      .rank = rank,
                      .latent_wire = "float32",
                      .layer_map = all}});
  }
  return kinds;
}

// 32 layers of keys and values, each V1 of the project's first design.
ProjectorShapeCase flat_streams(int64_t tokens, at::ScalarType dtype) {
  return {.suite = "streams",
          .name = "64 x V1 512 -> 4096",
          .options = {.norm = "layer"},
          .sender = plain_geometry(32, 8, 64),
          .receiver = plain_geometry(32, 32, 128),
          .tokens = tokens,
          .dtype = dtype,
          .with_separate_calls = tokens == 32};
}

}  // namespace

std::vector<Case> streams_cases(const SuiteSetup& setup) {
  std::vector<at::ScalarType> dtypes = {at::kFloat};
  if (!setup.device.is_cpu()) dtypes.push_back(at::kBFloat16);
  std::vector<Case> cases;
  const auto add = [&](const ProjectorShapeCase& shape) {
    cases.push_back(projector_case(shape, setup.device, setup.stopwatch));
  };
  for (const at::ScalarType dtype : dtypes) {
    for (const StreamsKind& kind : pair_kinds()) {
      for (const int64_t tokens : {1, 32, 512, 2048}) {
        add({.suite = "streams",
             .name = "56 streams, " + kind.name,
             .options = kind.options,
             .sender = qwen_sender(),
             .receiver = qwen_receiver(),
             .tokens = tokens,
             .dtype = dtype,
             .with_separate_calls = kind.with_separate_calls && tokens == 32});
      }
    }
    for (const int64_t tokens : {1, 32, 100}) add(flat_streams(tokens, dtype));
  }
  return cases;
}

}  // namespace kvalign::benchmark
