// From the graph to protobuf's bytes. The only source that sees the generated messages.
#include "kvalign/onnx/model_file.h"

#include <onnx.pb.h>

#include <optional>
#include <stdexcept>

#include "kvalign/core/files.h"

namespace kvalign {
namespace {

// Weights begin at pages, so that they can be mapped, and small constants are not worth one.
constexpr int64_t kPageBytes = 4096;
// Half of what protobuf can write, which leaves room for the nodes.
constexpr int64_t kMostInlineBytes = int64_t{1} << 30;

// The first version of the file format that has all types of an opset
// (https://github.com/onnx/onnx/blob/main/docs/Versioning.md).
int64_t ir_version(int64_t opset) {
  if (opset >= 23) return onnx::IR_VERSION_2025_05_12;
  if (opset >= 21) return onnx::IR_VERSION_2024_3_25;
  if (opset >= 19) return onnx::IR_VERSION_2023_5_5;
  return onnx::IR_VERSION_2021_7_30;
}

void set_tensor(onnx::ValueInfoProto& info, const OnnxTensor& tensor) {
  info.set_name(tensor.name);
  info.set_doc_string(tensor.meaning);
  onnx::TypeProto_Tensor& type = *info.mutable_type()->mutable_tensor_type();
  type.set_elem_type(static_cast<int32_t>(tensor.type));
  onnx::TensorShapeProto& shape = *type.mutable_shape();
  for (const int64_t length : tensor.shape) {
    onnx::TensorShapeProto_Dimension& dimension = *shape.add_dim();
    if (length == kOnnxTokens) {
      dimension.set_dim_param("tokens");
    } else {
      dimension.set_dim_value(length);
    }
  }
}

void set_attribute(onnx::AttributeProto& to, const OnnxAttribute& attribute) {
  to.set_name(attribute.name);
  if (const auto* number = std::get_if<int64_t>(&attribute.value)) {
    to.set_type(onnx::AttributeProto_AttributeType_INT);
    to.set_i(*number);
  } else if (const auto* real = std::get_if<float>(&attribute.value)) {
    to.set_type(onnx::AttributeProto_AttributeType_FLOAT);
    to.set_f(*real);
  } else {
    to.set_type(onnx::AttributeProto_AttributeType_INTS);
    for (const int64_t item : std::get<std::vector<int64_t>>(attribute.value)) to.add_ints(item);
  }
}

void set_node(onnx::NodeProto& to, const OnnxNode& node) {
  to.set_op_type(node.op);
  to.set_name(node.outputs.front());
  for (const std::string& input : node.inputs) to.add_input(input);
  for (const std::string& output : node.outputs) to.add_output(output);
  for (const OnnxAttribute& attribute : node.attributes) {
    set_attribute(*to.add_attribute(), attribute);
  }
}

void add_entry(onnx::StringStringEntryProto& entry, const std::string& key,
               const std::string& value) {
  entry.set_key(key);
  entry.set_value(value);
}

// The file of the large constants, which exists where one is added.
class DataFile {
 public:
  DataFile(const std::string& model_path, const OnnxFileOptions& options)
      : name_(options.data_name),
        path_(model_path.substr(0, model_path.rfind('/') + 1) + options.data_name) {}

  void add(onnx::TensorProto& tensor, std::string_view bytes) {
    if (!file_) file_.emplace(path_);
    const int64_t padding = (kPageBytes - size_ % kPageBytes) % kPageBytes;
    file_->write(std::string(static_cast<size_t>(padding), '\0'));
    size_ += padding;
    tensor.set_data_location(onnx::TensorProto_DataLocation_EXTERNAL);
    add_entry(*tensor.add_external_data(), "location", name_);
    add_entry(*tensor.add_external_data(), "offset", std::to_string(size_));
    add_entry(*tensor.add_external_data(), "length", std::to_string(bytes.size()));
    file_->write(bytes);
    size_ += static_cast<int64_t>(bytes.size());
  }

  void commit() {
    if (file_) file_->commit();
  }
  int64_t size() const { return size_; }

 private:
  std::string name_, path_;
  std::optional<AtomicFile> file_;
  int64_t size_ = 0;
};

void set_constants(onnx::GraphProto& to, const OnnxGraph& graph, int64_t inline_bytes,
                   DataFile& data) {
  int64_t total = 0;
  for (const OnnxConstant& constant : graph.constants()) {
    total += static_cast<int64_t>(constant.bytes.size());
  }
  for (const OnnxConstant& constant : graph.constants()) {
    onnx::TensorProto& tensor = *to.add_initializer();
    tensor.set_name(constant.tensor.name);
    tensor.set_data_type(static_cast<int32_t>(constant.tensor.type));
    for (const int64_t length : constant.tensor.shape) tensor.add_dims(length);
    if (total > inline_bytes && static_cast<int64_t>(constant.bytes.size()) >= kPageBytes) {
      data.add(tensor, constant.bytes);
    } else {
      tensor.set_raw_data(constant.bytes.data(), constant.bytes.size());
    }
  }
}

void check(const OnnxGraph& graph, const OnnxFileOptions& options) {
  if (graph.outputs().empty()) {
    throw std::invalid_argument("write_onnx_model: expected a graph with an output, got none");
  }
  const std::string& name = options.data_name;
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    throw std::invalid_argument(
        "write_onnx_model: expected data_name to be a file's name without a folder, got '" + name +
        "'");
  }
  if (options.inline_bytes < 0 || options.inline_bytes > kMostInlineBytes) {
    throw std::invalid_argument(
        "write_onnx_model: expected inline_bytes of 0 to 1 GiB, since protobuf writes less than 2 "
        "GiB, got " +
        std::to_string(options.inline_bytes));
  }
}

}  // namespace

OnnxFileSizes write_onnx_model(const std::string& path, const OnnxGraph& graph,
                               const OnnxFileOptions& options) {
  check(graph, options);
  onnx::ModelProto model;
  model.set_ir_version(ir_version(graph.opset()));
  model.set_producer_name("kvalign");
  model.set_producer_version(KVALIGN_VERSION);
  model.add_opset_import()->set_version(graph.opset());
  for (const auto& [key, value] : graph.metadata()) {
    add_entry(*model.add_metadata_props(), key, value);
  }
  onnx::GraphProto& to = *model.mutable_graph();
  to.set_name(graph.name());
  for (const OnnxTensor& input : graph.inputs()) set_tensor(*to.add_input(), input);
  for (const OnnxTensor& output : graph.outputs()) set_tensor(*to.add_output(), output);
  for (const OnnxNode& node : graph.nodes()) set_node(*to.add_node(), node);
  DataFile data(path, options);
  set_constants(to, graph, options.inline_bytes, data);

  const std::string bytes = model.SerializeAsString();
  data.commit();
  write_file_atomically(path, bytes);
  return {.model_bytes = static_cast<int64_t>(bytes.size()), .data_bytes = data.size()};
}

}  // namespace kvalign
