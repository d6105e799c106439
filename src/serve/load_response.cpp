// See load_response.h. Sources: as load_request.cpp.
#include "load_response.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "open_inference_json.h"
#include "open_inference_tensor.h"

namespace kvalign {
namespace {

using namespace open_inference;

constexpr int64_t kMaxJsonBytes = int64_t{64} << 20;  // of an answer, tensors in JSON included
constexpr size_t kMostOutputs = 64;

std::string text_of(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || !found->is_string() ? "" : found->get<std::string>();
}

// The bytes that the output takes of the data behind the JSON; 0 where its data is in the JSON.
int64_t check_output(const nlohmann::json& output) {
  if (!output.is_object()) refuse("answer: expected outputs to be objects, got " + brief(output));
  ServedTensor tensor{.name = string_member(output, "name", "output")};
  const std::string where = "output " + brief(tensor.name);
  tensor.datatype = string_member(output, "datatype", where);
  tensor.shape = parse_shape(output, where);
  const int64_t expected = tensor_bytes(tensor.shape, tensor.datatype, where);
  const std::optional<int64_t> binary =
      count_parameter(parameters_of(output, where), "binary_data_size", where);
  if (!binary) {
    bytes_of_json(array_member(output, "data", SIZE_MAX, where), tensor, where);
    return 0;
  }
  if (*binary != expected) {
    refuse(where + ": expected " + std::to_string(expected) + " bytes by its shape, got " +
           std::to_string(*binary));
  }
  return expected;
}

}  // namespace

LoadAnswer read_infer_answer(std::string_view body, std::optional<size_t> json_bytes) {
  const size_t header_bytes = json_bytes.value_or(body.size());
  if (header_bytes > body.size()) {
    refuse("answer: expected " + std::to_string(header_bytes) +
           " bytes of JSON by Inference-Header-Content-Length, got a body of " +
           std::to_string(body.size()));
  }
  const nlohmann::json header = parse_object(body.substr(0, header_bytes), kMaxJsonBytes, "answer");
  int64_t behind = 0;
  for (const nlohmann::json& output : array_member(header, "outputs", kMostOutputs, "answer")) {
    behind += check_output(output);  // 64 of at most 2^53
  }
  if (static_cast<uint64_t>(behind) != body.size() - header_bytes) {
    refuse("answer: expected " + std::to_string(behind) + " bytes behind the JSON, got " +
           std::to_string(body.size() - header_bytes));
  }
  return {.id = text_of(header, "id"),
          .outcome = text_of(parameters_of(header, "answer"), "outcome")};
}

void EventReader::feed(std::string_view bytes) {
  for (const char byte : bytes) {
    byte == '\n' ? end_line() : line_.push_back(byte);
  }
}

void EventReader::end_line() {
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  if (line_.empty()) {
    end_event();
  } else if (line_.starts_with("data:")) {
    data_ += line_.substr(line_.starts_with("data: ") ? 6 : 5) + "\n";
  }
  line_.clear();
}

void EventReader::end_event() {
  if (data_.empty()) return;
  const nlohmann::json event = parse_object(data_, kMaxJsonBytes, "event");
  data_.clear();
  sink_(event);
}

}  // namespace kvalign
