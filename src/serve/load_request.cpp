// See load_request.h. Sources: Open Inference Protocol, "Inference REST API"; Triton Inference
// Server, "Binary Tensor Data Extension" and "Generate Extension".
#include "load_request.h"

#include <nlohmann/json.hpp>

#include "base64.h"

namespace kvalign {

InferBody infer_body(const std::string& id, const std::vector<ServedTensor>& tensors) {
  nlohmann::json header = {{"id", id}, {"parameters", {{"binary_data_output", true}}}};
  size_t data_bytes = 0;
  for (const ServedTensor& tensor : tensors) {
    header["inputs"].push_back({{"name", tensor.name},
                                {"datatype", tensor.datatype},
                                {"shape", tensor.shape},
                                {"parameters", {{"binary_data_size", tensor.data.size()}}}});
    data_bytes += tensor.data.size();
  }
  InferBody body{.bytes = header.dump()};
  body.json_bytes = body.bytes.size();
  body.bytes.reserve(body.json_bytes + data_bytes);
  for (const ServedTensor& tensor : tensors) body.bytes += tensor.data;
  return body;
}

std::string generate_body(const std::string& id, std::string_view packet, int64_t max_tokens) {
  return nlohmann::json{
      {"id", id}, {"packet", encode_base64(packet)}, {"parameters", {{"max_tokens", max_tokens}}}}
      .dump();
}

}  // namespace kvalign
