// config.pbtxt: what NVIDIA's Triton inference server asks of a model in its repository
// (https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto).
#pragma once

#include <cstdint>
#include <string>

#include "kvalign/format/export.h"
#include "kvalign/onnx/graph.h"

namespace kvalign {

struct TritonOptions {
  std::string name;                  ///< of the model, and of its folder in the repository
  int64_t max_batch_size = 4096;     ///< tokens of all requests that are run together
  int64_t max_queue_delay_us = 100;  ///< how long a request waits for others
};

/// The text, for Triton's back end for onnxruntime. The first length of all inputs and outputs is
/// the one that Triton batches by: the tokens. Throws std::invalid_argument for a name that has
/// other characters than letters, digits, '_', '-' and '.', and for a tensor that does not begin
/// with the tokens or has a type that Triton lacks.
KVALIGN_API std::string triton_config(const OnnxGraph& graph, const TritonOptions& options);

}  // namespace kvalign
