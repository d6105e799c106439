// See load_response.h. Sources: as load_request.cpp.
#include "load_response.h"

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace kvalign {
namespace {

// Of the protocol's datatypes; BYTES has no fixed size.
const std::map<std::string, uint64_t>& datatype_bytes() {
  static const std::map<std::string, uint64_t> bytes = {
      {"BOOL", 1}, {"UINT8", 1}, {"UINT16", 2}, {"UINT32", 4}, {"UINT64", 8},
      {"INT8", 1}, {"INT16", 2}, {"INT32", 4},  {"INT64", 8},  {"FP16", 2},
      {"BF16", 2}, {"FP32", 4},  {"FP64", 8}};
  return bytes;
}

[[noreturn]] void malformed(const std::string& what) {
  throw std::runtime_error("answer: " + what);
}

nlohmann::json parse_object(std::string_view text, const char* where) {
  nlohmann::json object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    malformed(std::string(where) + ": expected a JSON object, got " +
              std::string(text.substr(0, 80)));
  }
  return object;
}

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || !found->is_string() ? "" : found->get<std::string>();
}

uint64_t unsigned_of(const nlohmann::json& number, const std::string& where) {
  if (!number.is_number_unsigned()) malformed(where + ": expected a size, got " + number.dump());
  return number.get<uint64_t>();
}

// The bytes that the output takes of the data after the JSON; 0 where its data is in the JSON.
uint64_t check_output(const nlohmann::json& output) {
  if (!output.is_object()) malformed("outputs: expected objects, got " + output.dump());
  const std::string where = "output '" + text_of(output, "name") + "'";
  const auto size = datatype_bytes().find(text_of(output, "datatype"));
  if (size == datatype_bytes().end()) {
    malformed(where + ": unknown datatype '" + text_of(output, "datatype") + "'");
  }
  const nlohmann::json shape = output.value("shape", nlohmann::json());
  if (!shape.is_array()) malformed(where + ": expected a shape, got " + shape.dump());
  uint64_t elements = 1;
  for (const nlohmann::json& dimension : shape) {
    if (__builtin_mul_overflow(elements, unsigned_of(dimension, where + ": shape"), &elements)) {
      malformed(where + ": shape " + shape.dump() + " overflows");
    }
  }
  const nlohmann::json parameters = output.value("parameters", nlohmann::json::object());
  if (!parameters.contains("binary_data_size")) {
    const nlohmann::json data = output.value("data", nlohmann::json());
    if (!data.is_array() || data.flatten().size() != elements) {
      malformed(where + ": expected data of shape " + shape.dump());
    }
    return 0;
  }
  const uint64_t bytes = unsigned_of(parameters["binary_data_size"], where + ": binary_data_size");
  if (bytes % size->second != 0 || bytes / size->second != elements) {
    malformed(where + ": " + std::to_string(bytes) + " bytes for shape " + shape.dump());
  }
  return bytes;
}

}  // namespace

LoadAnswer read_infer_answer(std::string_view body, std::optional<size_t> json_bytes) {
  if (json_bytes.value_or(0) > body.size()) {
    malformed("Inference-Header-Content-Length is " + std::to_string(*json_bytes) + ", the body " +
              std::to_string(body.size()) + " bytes");
  }
  const size_t header_bytes = json_bytes.value_or(body.size());
  const nlohmann::json header = parse_object(body.substr(0, header_bytes), "body");
  const nlohmann::json outputs = header.value("outputs", nlohmann::json());
  if (!outputs.is_array()) malformed("expected outputs, got " + outputs.dump());
  uint64_t left = body.size() - header_bytes;
  for (const nlohmann::json& output : outputs) {
    const uint64_t bytes = check_output(output);
    if (bytes > left) {
      malformed("output '" + text_of(output, "name") + "': " + std::to_string(bytes) +
                " bytes, of which " + std::to_string(left) + " came");
    }
    left -= bytes;
  }
  if (left > 0) malformed(std::to_string(left) + " bytes belong to no output");
  return {.id = text_of(header, "id"),
          .outcome = text_of(header.value("parameters", nlohmann::json::object()), "outcome")};
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
  const nlohmann::json event = parse_object(data_, "event");
  data_.clear();
  sink_(event);
}

}  // namespace kvalign
