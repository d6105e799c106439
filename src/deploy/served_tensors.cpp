// Every size is checked before a byte is looked at. See served_tensors.h.
#include "served_tensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace kvalign {
namespace {

const std::map<std::string, at::ScalarType>& served_types() {
  static const std::map<std::string, at::ScalarType> types = {
      {"UINT8", at::kByte}, {"INT32", at::kInt},     {"INT64", at::kLong},
      {"FP16", at::kHalf},  {"BF16", at::kBFloat16}, {"FP32", at::kFloat}};
  return types;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) {
    text += (text.empty() ? "" : ", ") + (size < 0 ? "any" : std::to_string(size));
  }
  return "[" + text + "]";
}

bool fits(const std::vector<int64_t>& shape, const std::vector<int64_t>& expected) {
  if (shape.size() != expected.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (expected[i] < 0 ? shape[i] < 1 : shape[i] != expected[i]) return false;
  }
  return true;
}

// Whether `bytes` is the product of the shape and the element's size, without overflow.
bool has_bytes(const std::vector<int64_t>& shape, size_t element_size, size_t bytes) {
  if (bytes % element_size != 0) return false;
  size_t left = bytes / element_size;
  for (const int64_t size : shape) {
    if (left % static_cast<size_t>(size) != 0) return false;
    left /= static_cast<size_t>(size);
  }
  return left == 1;
}

}  // namespace

const ServedTensor* find_input(const ServeRequest& request, const std::string& name) {
  const auto found = std::find_if(request.inputs.begin(), request.inputs.end(),
                                  [&](const ServedTensor& input) { return input.name == name; });
  return found == request.inputs.end() ? nullptr : &*found;
}

void refuse_request(const ServeRequest& request, const std::string& what) {
  throw ServeRefusal(400, "invalid", request.model + ": " + what);
}

at::Tensor view_input(const ServeRequest& request, const ServedTensor& input,
                      const ExpectedTensor& expected) {
  const auto refuse = [&](const std::string& what) {
    refuse_request(request, "input " + input.name + ": " + what);
  };
  const auto& allowed = expected.datatypes;
  if (std::find(allowed.begin(), allowed.end(), input.datatype) == allowed.end()) {
    std::string known;
    for (const std::string& datatype : allowed) known += (known.empty() ? "" : ", ") + datatype;
    refuse("expected datatype " + known + ", got \"" + input.datatype + "\"");
  }
  if (!fits(input.shape, expected.shape)) {
    refuse("expected shape " + shape_text(expected.shape) + ", got " + shape_text(input.shape));
  }
  const at::ScalarType type = served_types().at(input.datatype);
  if (!has_bytes(input.shape, c10::elementSize(type), input.data.size())) {
    refuse("expected the bytes of " + input.datatype + " " + shape_text(input.shape) + ", got " +
           std::to_string(input.data.size()));
  }
  return at::from_blob(const_cast<char*>(input.data.data()), input.shape, type);
}

ServedTensor to_served(const std::string& name, const at::Tensor& values) {
  const at::Tensor plain = values.to(at::kCPU).contiguous();
  return {.name = name,
          .datatype = "FP32",
          .shape = plain.sizes().vec(),
          .data = std::string(reinterpret_cast<const char*>(plain.const_data_ptr<float>()),
                              static_cast<size_t>(plain.numel()) * sizeof(float))};
}

}  // namespace kvalign
