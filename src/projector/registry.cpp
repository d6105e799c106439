// All projector kinds. A new kind is a file with its class, and here its name and its maker.
#include <ATen/ATen.h>

#include "kvalign/projector/projector.h"

namespace kvalign {

using Maker = std::shared_ptr<Projector>(const ProjectorOptions&, const ProjectorShape&);
Maker make_linear_residual, make_mlp, make_residual_mlp, make_low_rank, make_bidirectional,
    make_autoencoder, make_truncate, make_pad, make_interpolate, make_random;

namespace {

struct Kind {
  const char* name;
  Maker* make;
};

constexpr Kind kKinds[] = {
    {"linear_residual", make_linear_residual},
    {"mlp", make_mlp},
    {"residual_mlp", make_residual_mlp},
    {"low_rank", make_low_rank},
    {"bidirectional", make_bidirectional},
    {"autoencoder", make_autoencoder},
    {"truncate", make_truncate},
    {"pad", make_pad},
    {"interpolate", make_interpolate},
    {"random", make_random},
};

void check_shape(const ProjectorShape& shape) {
  TORCH_CHECK(
      shape.num_groups > 0 && shape.num_features > 0 && shape.num_streams > 0 && shape.width > 0,
      "make_projector: expected positive sizes, got num_groups ", shape.num_groups,
      ", num_features ", shape.num_features, ", num_streams ", shape.num_streams, ", width ",
      shape.width);
  TORCH_CHECK(shape.num_streams % shape.num_groups == 0,
              "make_projector: expected num_groups to divide num_streams, got ", shape.num_groups,
              " and ", shape.num_streams);
}

}  // namespace

std::vector<std::string> projector_kinds() {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) {
    names.emplace_back(kind.name);
  }
  return names;
}

std::vector<std::string> baseline_kinds(const ProjectorShape& shape) {
  return {shape.num_features >= shape.width ? "truncate" : "pad", "interpolate", "random"};
}

std::shared_ptr<Projector> make_projector(const ProjectorOptions& options,
                                          const ProjectorShape& shape) {
  check_shape(shape);
  for (const Kind& kind : kKinds) {
    if (options.kind == kind.name) {
      return kind.make(options, shape);
    }
  }
  std::string known;
  for (const Kind& kind : kKinds) {
    known += known.empty() ? kind.name : std::string(", ") + kind.name;
  }
  TORCH_CHECK(false, "make_projector: unknown projector kind '", options.kind, "'; known: ", known);
}

}  // namespace kvalign
