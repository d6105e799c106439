// Bodies of a client's requests: the Open Inference Protocol with its binary tensor extension, and
// Triton's generate extension. Private to serve/.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kvalign/serve/inference_service.h"

namespace kvalign {

struct InferBody {
  std::string bytes = {};
  size_t json_bytes = 0;  ///< for the header Inference-Header-Content-Length
};

/// All tensors as binary data after the JSON, and all outputs asked for in that form.
InferBody infer_body(const std::string& id, const std::vector<ServedTensor>& tensors);

/// {"id", "packet": base64, "parameters": {"max_tokens"}}.
std::string generate_body(const std::string& id, std::string_view packet, int64_t max_tokens);

}  // namespace kvalign
