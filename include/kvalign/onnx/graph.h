// A computation graph in the words of ONNX (https://onnx.ai/onnx/repo-docs/IR.html): inputs,
// constants, operators and outputs, put together one by one. It computes nothing and holds no
// weights of its own; model_file.h writes it.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

/// Values are those of TensorProto.DataType.
enum class OnnxType {
  kFloat = 1,
  kUint8 = 2,
  kInt32 = 6,
  kInt64 = 7,
  kFloat16 = 10,
  kFloat8E4M3FN = 17,
};

/// Bytes of an element.
KVALIGN_API int64_t onnx_type_bytes(OnnxType type);

/// A length that each run decides for itself; all of them are one and the same number.
constexpr int64_t kOnnxTokens = -1;

/// What goes in or comes out.
struct OnnxTensor {
  std::string name;
  OnnxType type = OnnxType::kFloat;
  std::vector<int64_t> shape = {};  ///< empty: a scalar
  std::string meaning = {};         ///< for people who look at the model
};

/// Row-major and little-endian. The bytes belong to the caller and must outlive the graph.
struct OnnxConstant {
  OnnxTensor tensor;
  std::string_view bytes;
};

struct OnnxAttribute {
  std::string name;
  std::variant<int64_t, float, std::vector<int64_t>> value;
};

struct OnnxNode {
  std::string op;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::vector<OnnxAttribute> attributes;
};

/// Values have unique names and are there before they are read. All functions throw
/// std::invalid_argument that names the value.
class KVALIGN_API OnnxGraph {
 public:
  /// `opset`: version of the operators, 17 .. 23.
  OnnxGraph(std::string name, int64_t opset);

  void add_input(OnnxTensor input);
  /// A value that is there already, with the type and shape that it will have.
  void add_output(OnnxTensor output);
  /// Throws also where the bytes are not as many as type and shape need.
  void add_constant(OnnxConstant constant);
  /// Throws also for a node without output.
  void add_node(OnnxNode node);
  /// Says of the model what a user asks of it; replaces the value of a key.
  void set_metadata(const std::string& key, std::string value);

  const std::string& name() const { return name_; }
  int64_t opset() const { return opset_; }
  const std::vector<OnnxTensor>& inputs() const { return inputs_; }
  const std::vector<OnnxTensor>& outputs() const { return outputs_; }
  const std::vector<OnnxConstant>& constants() const { return constants_; }
  const std::vector<OnnxNode>& nodes() const { return nodes_; }
  const std::vector<std::pair<std::string, std::string>>& metadata() const { return metadata_; }

 private:
  void define(const std::string& value);
  void require(const std::string& value, const std::string& reader) const;

  std::string name_;
  int64_t opset_;
  std::vector<OnnxTensor> inputs_, outputs_;
  std::vector<OnnxConstant> constants_;
  std::vector<OnnxNode> nodes_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::set<std::string> values_;
};

}  // namespace kvalign
