// The rules that every ONNX graph keeps. See the header.
#include "kvalign/onnx/graph.h"

#include <algorithm>
#include <stdexcept>

namespace kvalign {
namespace {

[[noreturn]] void fail(const std::string& text) {
  throw std::invalid_argument("OnnxGraph: " + text);
}

int64_t bytes_of(const OnnxTensor& tensor) {
  int64_t bytes = onnx_type_bytes(tensor.type);
  for (const int64_t length : tensor.shape) {
    if (length < 0 || __builtin_mul_overflow(bytes, length, &bytes)) {
      fail("constant " + tensor.name + ": expected lengths from 0 whose product is a size, got " +
           std::to_string(length));
    }
  }
  return bytes;
}

}  // namespace

int64_t onnx_type_bytes(OnnxType type) {
  switch (type) {
    case OnnxType::kUint8:
    case OnnxType::kFloat8E4M3FN:
      return 1;
    case OnnxType::kFloat16:
      return 2;
    case OnnxType::kFloat:
    case OnnxType::kInt32:
      return 4;
    case OnnxType::kInt64:
      return 8;
  }
  fail("unknown type " + std::to_string(static_cast<int>(type)));
}

OnnxGraph::OnnxGraph(std::string name, int64_t opset) : name_(std::move(name)), opset_(opset) {
  if (opset < 17 || opset > 23) {
    fail("expected an opset of 17 (the first with LayerNormalization) to 23, got " +
         std::to_string(opset));
  }
}

void OnnxGraph::define(const std::string& value) {
  if (value.empty()) fail("expected a name for every value, got an empty one");
  if (!values_.insert(value).second) fail("there are two values of the name " + value);
}

void OnnxGraph::require(const std::string& value, const std::string& reader) const {
  if (!values_.contains(value)) {
    fail(reader + " reads " + value + ", which is not there. Add what makes it first");
  }
}

void OnnxGraph::add_input(OnnxTensor input) {
  define(input.name);
  inputs_.push_back(std::move(input));
}

void OnnxGraph::add_output(OnnxTensor output) {
  require(output.name, "the caller");
  for (const OnnxTensor& other : outputs_) {
    if (other.name == output.name) fail("there are two outputs of the name " + output.name);
  }
  outputs_.push_back(std::move(output));
}

void OnnxGraph::add_constant(OnnxConstant constant) {
  const int64_t expected = bytes_of(constant.tensor);
  if (static_cast<int64_t>(constant.bytes.size()) != expected) {
    fail("constant " + constant.tensor.name + ": expected " + std::to_string(expected) +
         " bytes, got " + std::to_string(constant.bytes.size()));
  }
  define(constant.tensor.name);
  constants_.push_back(std::move(constant));
}

void OnnxGraph::add_node(OnnxNode node) {
  if (node.outputs.empty()) fail("expected a node " + node.op + " with an output, got none");
  for (const std::string& input : node.inputs) require(input, node.op);
  for (const std::string& output : node.outputs) define(output);
  nodes_.push_back(std::move(node));
}

void OnnxGraph::set_metadata(const std::string& key, std::string value) {
  const auto found = std::find_if(metadata_.begin(), metadata_.end(),
                                  [&](const auto& entry) { return entry.first == key; });
  if (found != metadata_.end()) {
    found->second = std::move(value);
  } else {
    metadata_.emplace_back(key, std::move(value));
  }
}

}  // namespace kvalign
