// Bodies that answer `infer`, and errors. See open_inference.h.
#include <nlohmann/json.hpp>

#include "kvalign/serve/open_inference.h"
#include "open_inference_tensor.h"

namespace kvalign {
namespace {

using nlohmann::json;

// An object without its closing brace, to which a member is to be added.
std::string open_object(const json& object) {
  std::string text = open_inference::text_of(object);
  text.pop_back();
  return text;
}

bool wants_binary(const InferCall& call, const std::string& name) {
  const auto wish = call.binary_outputs.find(name);
  return wish == call.binary_outputs.end() ? call.binary_by_default : wish->second;
}

json response_head(const ServeResponse& response, const InferCall& call) {
  json parameters = {{"outcome", name_of(response.outcome)}};
  if (!response.reason.empty()) parameters["reason"] = response.reason;
  if (!response.certificate.is_null())
    parameters["certificate"] = open_inference::text_of(response.certificate);
  json head = {{"model_name", response.model},
               {"model_version", response.version},
               {"parameters", parameters}};
  if (!call.request.id.empty()) head["id"] = call.request.id;
  return head;
}

}  // namespace

OpenInferenceBody write_infer_response(const ServeResponse& response, const InferCall& call) {
  std::string outputs;
  size_t binary_bytes = 0;
  bool any_binary = false;
  for (const ServedTensor& tensor : response.outputs) {
    json output = {{"name", tensor.name}, {"datatype", tensor.datatype}, {"shape", tensor.shape}};
    if (!outputs.empty()) outputs += ',';
    if (wants_binary(call, tensor.name)) {
      output["parameters"] = {{"binary_data_size", tensor.data.size()}};
      outputs += open_inference::text_of(output);
      binary_bytes += tensor.data.size();
      any_binary = true;
    } else {
      outputs += open_object(output) + ",\"data\":" + open_inference::json_of_bytes(tensor) + "}";
    }
  }
  OpenInferenceBody body;
  body.bytes = open_object(response_head(response, call)) + ",\"outputs\":[" + outputs + "]}";
  if (any_binary) body.json_bytes = body.bytes.size();
  body.bytes.reserve(body.bytes.size() + binary_bytes);
  for (const ServedTensor& tensor : response.outputs) {
    if (wants_binary(call, tensor.name)) body.bytes += tensor.data;
  }
  return body;
}

std::string write_error(const std::string& text) {
  return open_inference::text_of({{"error", text}});
}

}  // namespace kvalign
