// See load_request.h. Sources: Open Inference Protocol, "Inference REST API"; Triton Inference
// Server, "Binary Tensor Data Extension" and "Generate Extension".
#include "load_request.h"

#include <openssl/evp.h>

#include <nlohmann/json.hpp>

namespace kvalign {
namespace {

std::string base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // and EVP_EncodeBlock's end of string
  const int written = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                      reinterpret_cast<const unsigned char*>(bytes.data()),
                                      static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(written));
  return text;
}

}  // namespace

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
      {"id", id}, {"packet", base64(packet)}, {"parameters", {{"max_tokens", max_tokens}}}}
      .dump();
}

}  // namespace kvalign
