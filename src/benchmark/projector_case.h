// Cases of one projector at one number of tokens: ours beside LibTorch's own operations and beside
// the matrix products alone. Private to benchmark/.
//
// Shapes:  S sender streams   R receiver streams   T tokens   d sender width   D receiver width
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kvalign/benchmark/case.h"
#include "kvalign/projector/kv_projector.h"

namespace kvalign::benchmark {

struct ProjectorShapeCase {
  std::string suite;
  std::string name;  ///< of the projector; tokens are added to it
  ProjectorOptions options;
  KvGeometry sender;
  KvGeometry receiver;
  int64_t sequences = 1;
  int64_t tokens = 1;  ///< of each sequence; to a projector all are rows
  at::ScalarType dtype = at::kFloat;
  /// Also one call a stream, whose sum a single call of all replaces.
  bool with_separate_calls = false;
};

/// Variants: ours, eager (baseline), gemm (baseline), separate (baseline); on a CUDA device also
/// "ours, graph" and "gemm, graph" (baseline), whose detail is what one call launches.
Case projector_case(const ProjectorShapeCase& shape, at::Device device, const Stopwatch& stopwatch);

/// A projector without statistics whose parameters are random, none 0 or 1, and numbers of `dtype`.
KvProjector random_projector(const ProjectorOptions& options, const KvGeometry& sender,
                             const KvGeometry& receiver, at::ScalarType dtype, at::Device device,
                             uint64_t seed);

/// What kvalign runs, in `dtype`: [S, T, d] -> [R, T, D].
std::function<at::Tensor(const at::Tensor&)> our_projection(const KvProjector& projector,
                                                            at::ScalarType dtype);

/// The second half of low_rank: [1, T, r] -> [R, T, D].
std::function<at::Tensor(const at::Tensor&)> our_latent_projection(const KvProjector& projector,
                                                                   at::ScalarType dtype);

/// Standard normal.
at::Tensor random_tensor(at::IntArrayRef sizes, at::ScalarType dtype, at::Device device,
                         uint64_t seed);

/// The same tensors at every call, made by the first.
std::function<std::vector<at::Tensor>()> made_once(std::function<std::vector<at::Tensor>()> make);

/// Without positions; flat: one stream.
KvGeometry plain_geometry(int64_t num_layers, int64_t num_kv_heads, int64_t head_dim);
KvGeometry flat_geometry(int64_t width);

}  // namespace kvalign::benchmark
