// A checkpoint's projector as a whole ONNX graph: what goes in, the projector's nodes, what comes
// out, where it comes from. Private to deploy/.
#pragma once

#include <memory>
#include <string>

#include "kvalign/deploy/onnx_export.h"
#include "kvalign/projector/kv_projector.h"
#include "onnx_builder.h"

namespace kvalign {

// How FP8 codes are typed: as FP8, or as the bytes that they are.
enum class CodeType { kFloat8, kUint8 };

struct ProjectorGraph {
  OnnxBuilder builder;    // holds copies of weights
  KvProjector projector;  // holds the others
  std::string checkpoint_sha256;
};

// Inputs and outputs are those of onnx_export.h. Throws as export_onnx.
ProjectorGraph make_projector_graph(const std::string& checkpoint, const OnnxExportOptions& options,
                                    CodeType code_type);

// To `output`, with large weights beside it. Throws as write_onnx_model.
OnnxExport write_projector_graph(ProjectorGraph& graph, const std::string& output);

}  // namespace kvalign
