// Bodies of `infer`. See open_inference.h.
#include <algorithm>
#include <set>

#include "kvalign/serve/open_inference.h"
#include "open_inference_json.h"
#include "open_inference_tensor.h"

namespace kvalign {
namespace {

using namespace open_inference;

constexpr size_t kMostTensors = 64;

// "inputs[3]", and "inputs[3] "name"" once the name is known.
std::string element(const char* list, size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}
std::string element(const std::string& unnamed, const std::string& name) {
  return unnamed + " " + brief(name);
}

std::string shape_text(const ServedTensor& tensor) {
  std::string text;
  for (const int64_t size : tensor.shape) {
    text += text.empty() ? "" : ",";
    text += std::to_string(size);
  }
  return tensor.datatype + " [" + text + "]";
}

// Takes each binary tensor from the front of what follows the JSON.
class InputReader {
 public:
  explicit InputReader(std::string_view binary) : binary_(binary), size_(binary.size()) {}

  ServedTensor read(const nlohmann::json& json, size_t index) {
    std::string where = element("inputs", index);
    if (!json.is_object()) refuse(where + ": expected an object, got " + brief(json));
    ServedTensor tensor;
    tensor.name = string_member(json, "name", where);
    where = element(where, tensor.name);
    check_members(json, {"name", "shape", "datatype", "parameters", "data"}, where);
    if (!names_.insert(tensor.name).second) refuse(where + ": the name comes twice");
    tensor.datatype = string_member(json, "datatype", where);
    tensor.shape = parse_shape(json, where);
    const int64_t expected = tensor_bytes(tensor.shape, tensor.datatype, where);
    const nlohmann::json parameters = parameters_of(json, where);
    check_members(parameters, {"binary_data_size"}, where + " parameters");
    const std::optional<int64_t> binary = count_parameter(parameters, "binary_data_size", where);
    if (binary.has_value() == json.contains("data")) {
      refuse(where + ": expected either \"data\" or the parameter \"binary_data_size\", got " +
             (binary ? "both" : "neither"));
    }
    tensor.data = binary ? take(*binary, expected, tensor, where)
                         : bytes_of_json(json.at("data"), tensor, where);
    return tensor;
  }

  void check_end() const {
    if (binary_.empty()) return;
    refuse("infer: expected the inputs' binary_data_size to sum up to the " +
           std::to_string(size_) + " bytes behind the JSON, got " +
           std::to_string(size_ - binary_.size()));
  }

 private:
  std::string take(int64_t bytes, int64_t expected, const ServedTensor& tensor,
                   const std::string& where) {
    if (bytes != expected) {
      refuse(where + ": expected a binary_data_size of " + std::to_string(expected) + " for " +
             shape_text(tensor) + ", got " + std::to_string(bytes));
    }
    if (static_cast<uint64_t>(bytes) > binary_.size()) {
      refuse(where + ": expected " + std::to_string(bytes) + " bytes behind the JSON, got " +
             std::to_string(binary_.size()) + "; is Inference-Header-Content-Length right?");
    }
    std::string data(binary_.substr(0, static_cast<size_t>(bytes)));
    binary_.remove_prefix(static_cast<size_t>(bytes));
    return data;
  }

  std::string_view binary_;
  size_t size_;
  std::set<std::string> names_;
};

void read_outputs(const nlohmann::json& json, InferCall& call) {
  if (!json.contains("outputs")) return;
  for (const nlohmann::json& output : array_member(json, "outputs", kMostTensors, "infer")) {
    std::string where = element("outputs", call.request.outputs.size());
    if (!output.is_object()) refuse(where + ": expected an object, got " + brief(output));
    const std::string name = string_member(output, "name", where);
    where = element(where, name);
    check_members(output, {"name", "parameters"}, where);
    const std::vector<std::string>& names = call.request.outputs;
    if (std::find(names.begin(), names.end(), name) != names.end()) {
      refuse(where + ": the name comes twice");
    }
    const nlohmann::json parameters = parameters_of(output, where);
    check_members(parameters, {"binary_data"}, where + " parameters");
    call.request.outputs.push_back(name);
    if (const auto binary = bool_parameter(parameters, "binary_data", where)) {
      call.binary_outputs[name] = *binary;
    }
  }
}

size_t json_size(std::string_view body, std::optional<int64_t> json_bytes) {
  if (!json_bytes) return body.size();
  if (*json_bytes < 1 || static_cast<uint64_t>(*json_bytes) > body.size()) {
    refuse("infer: expected Inference-Header-Content-Length to be from 1 to the body's " +
           std::to_string(body.size()) + " bytes, got " + std::to_string(*json_bytes));
  }
  return static_cast<size_t>(*json_bytes);
}

}  // namespace

InferCall parse_infer(std::string_view body, std::optional<int64_t> json_bytes,
                      const OpenInferenceLimits& limits) {
  const size_t size = json_size(body, json_bytes);
  const nlohmann::json json = parse_object(body.substr(0, size), limits.max_json_bytes, "infer");
  check_members(json, {"id", "parameters", "inputs", "outputs"}, "infer");
  InferCall call;
  if (json.contains("id")) call.request.id = string_member(json, "id", "infer");
  call.request.parameters = parameters_of(json, "infer");
  call.binary_by_default =
      bool_parameter(call.request.parameters, "binary_data_output", "infer").value_or(false);
  call.timeout_microseconds = count_parameter(call.request.parameters, "timeout", "infer");
  InputReader reader(body.substr(size));
  for (const nlohmann::json& input : array_member(json, "inputs", kMostTensors, "infer")) {
    call.request.inputs.push_back(reader.read(input, call.request.inputs.size()));
  }
  reader.check_end();
  read_outputs(json, call);
  return call;
}

}  // namespace kvalign
