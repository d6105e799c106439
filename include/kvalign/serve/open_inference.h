// The Open Inference Protocol (KServe v2) in bodies of HTTP: JSON with tensors in it or, by
// Triton's binary-tensor extension, behind it. Bytes to requests and responses to bytes; no sockets
// here. https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/
// https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
//
// FP8 has no datatype in the protocol: codes travel as UINT8, their scales as FP32. FP16 and BF16
// have no JSON form and travel as binary alone, as the extension says.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "kvalign/format/export.h"
#include "kvalign/serve/inference_service.h"

namespace kvalign {

/// A request to `infer`, and in which form its outputs are wanted.
struct InferCall {
  ServeRequest request = {};  ///< without model, version and deadline: those are not in the body
  std::optional<int64_t> timeout_microseconds = std::nullopt;  ///< the client's own; Triton's
  bool binary_by_default = false;
  std::map<std::string, bool> binary_outputs = {};  ///< of those that were named with a wish
};

/// A body with, where tensors follow the JSON, the JSON's size: Inference-Header-Content-Length.
struct OpenInferenceBody {
  std::string bytes = {};
  std::optional<size_t> json_bytes = std::nullopt;
};

/// What a body may hold. Nesting, tensors and names have fixed limits: 16 levels, 4096 members, 64
/// tensors of at most 8 dimensions, 256 bytes a name.
struct OpenInferenceLimits {
  int64_t max_json_bytes = 4 << 20;  ///< parsed JSON takes up to sixteen times its size
};

/// Reads the body of `infer`. `json_bytes` is Inference-Header-Content-Length, none where the whole
/// body is JSON. Throws ServeRefusal (400, 413) that names the member, what was expected and what
/// came.
KVALIGN_API InferCall parse_infer(std::string_view body, std::optional<int64_t> json_bytes,
                                  const OpenInferenceLimits& limits);

/// Writes the answer of `infer`: outputs as `call` wants them; outcome, reason and certificate (a
/// JSON text: the protocol's parameters are scalars) as parameters of the response. Where nothing
/// was applied, `outputs` is an empty list, which clients read without an error.
/// Throws ServeRefusal (400) for an output that JSON cannot hold.
KVALIGN_API OpenInferenceBody write_infer_response(const ServeResponse& response,
                                                   const InferCall& call);

/// Reads the body of Triton's `generate`: {"packet": base64, "id"?, "parameters"?}. The packet
/// becomes the input `packet`, UINT8 [bytes]; `max_tokens` of the parameters, where it is there, is
/// a count. Throws ServeRefusal (400, 413).
KVALIGN_API ServeRequest parse_generate(std::string_view body, const OpenInferenceLimits& limits);

/// {"model_name", "model_version", "id"?, "text_output", "outcome", "reason", "certificate"}.
KVALIGN_API std::string write_generate_response(const ServeResponse& response,
                                                const std::string& text, const std::string& id);

/// One event of a stream: {"model_name", "model_version", "id"?, "text_output", "token_id"}.
KVALIGN_API std::string write_generated_piece(const ServeRequest& request,
                                              const GeneratedPiece& piece);

/// The protocol's error object: {"error": text}.
KVALIGN_API std::string write_error(const std::string& text);

}  // namespace kvalign
