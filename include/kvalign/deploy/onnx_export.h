// A checkpoint's projector for other runtimes: as an ONNX model, alone or in a model repository of
// NVIDIA's Triton. Tokens come first in every shape, since each is projected alone: those of
// several requests can share a run.
//
// What goes in, of T tokens (S sender streams, d their width, r numbers of a latent):
//   features  float32 [T, S, d]; [T, d] of a flat cache
//   latent    float32 [T, r], in their place
//   codes     FP8 (E4M3) of either's shape, and scales, float32 [T, S] ([T, 1] of a flat cache and
//             of a latent): number = code * scale. Triton has no FP8: there codes are uint8
// What comes out (L receiver layers, N kv heads, H head dim, D = N * H):
//   keys, values  float32 [T, L, N, H], content keys, as the projector makes them
//   cache         float32 [T, D], of a flat cache
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/onnx/graph.h"
#include "kvalign/onnx/model_file.h"

namespace kvalign {

struct OnnxExportOptions {
  int64_t opset = 0;    ///< 17 .. 23; 0: 17, or 19 where the graph has FP8 numbers
  bool fp8 = false;     ///< reads codes and scales
  bool latent = false;  ///< low_rank alone: reads what the device's encoder sent
  int64_t rank = 0;     ///< low_rank alone: keeps the first numbers of the latent; 0: all
};

struct OnnxExport {
  std::string model;  ///< path of the model
  int64_t opset = 0;
  std::vector<OnnxTensor> inputs, outputs;
  OnnxFileSizes sizes;
};

/// Writes the projector of the checkpoint at `checkpoint` to `output`; large weights go beside it,
/// to a file named after both. Throws std::runtime_error as load_checkpoint and write_onnx_model,
/// and c10::Error for options that the checkpoint cannot have, and for a kind of projector that has
/// no graph.
KVALIGN_API OnnxExport export_onnx(const std::string& checkpoint, const std::string& output,
                                   const OnnxExportOptions& options);

struct TritonExport {
  OnnxExport onnx;
  std::string config;  ///< path of config.pbtxt
  int64_t version = 0;
};

/// Writes the next version of the model whose folder is `folder`, a folder of Triton's repository
/// that has the model's name: config.pbtxt and <version>/model.onnx, 1 at first. A version appears
/// whole or not at all. Throws as export_onnx, and std::runtime_error where the folder cannot be
/// written.
KVALIGN_API TritonExport export_triton(const std::string& checkpoint, const std::string& folder,
                                       const OnnxExportOptions& options);

}  // namespace kvalign
