// An ONNX graph as a file. Weights are in it, or, where they are large, in a file beside it: the
// format's own limit is 2 GiB a file (protobuf's), and runtimes map the second one into memory.
#pragma once

#include <cstdint>
#include <string>

#include "kvalign/format/export.h"
#include "kvalign/onnx/graph.h"

namespace kvalign {

struct OnnxFileOptions {
  /// Name of the second file, in the same folder and without one; a name of its contents' own lets
  /// a reader of the former model finish with the former weights.
  std::string data_name;
  /// Up to this many bytes of constants stay in the model; at most 1 GiB.
  int64_t inline_bytes = int64_t{64} << 20;
};

struct OnnxFileSizes {
  int64_t model_bytes = 0;
  int64_t data_bytes = 0;  ///< 0: there is no second file
};

/// Each file appears whole or not at all (core/files.h), the model last. Throws
/// std::invalid_argument for a graph without output and options that break these rules, and
/// std::runtime_error where the disk refuses.
KVALIGN_API OnnxFileSizes write_onnx_model(const std::string& path, const OnnxGraph& graph,
                                           const OnnxFileOptions& options);

}  // namespace kvalign
