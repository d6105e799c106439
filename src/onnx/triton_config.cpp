// Protobuf's text format by hand: model_config.proto comes with no package that a build could read
// it from, and a dozen lines need no generator.
#include "kvalign/onnx/triton_config.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>

namespace kvalign {
namespace {

[[noreturn]] void refuse_config(const std::string& text) {
  throw std::invalid_argument("triton_config: " + text);
}

// Such names need no escapes, and no one of them leaves the repository.
void check_name(const std::string& name) {
  const auto allowed = [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           c == '-' || c == '.';
  };
  if (name.empty() || name.front() == '.' || !std::all_of(name.begin(), name.end(), allowed)) {
    refuse_config(
        "expected a name of letters, digits, '_', '-' and '.' that does not begin with '.', got '" +
        name + "'");
  }
}

const char* triton_type(const OnnxTensor& tensor) {
  switch (tensor.type) {
    case OnnxType::kFloat:
      return "TYPE_FP32";
    case OnnxType::kFloat16:
      return "TYPE_FP16";
    case OnnxType::kUint8:
      return "TYPE_UINT8";
    case OnnxType::kInt32:
      return "TYPE_INT32";
    case OnnxType::kInt64:
      return "TYPE_INT64";
    case OnnxType::kFloat8E4M3FN:
      break;
  }
  refuse_config("tensor " + tensor.name +
                ": expected a type that Triton has, got FP8. Send codes as uint8");
}

void write_tensor(std::ostream& text, const char* field, const OnnxTensor& tensor) {
  if (tensor.shape.size() < 2 || tensor.shape.front() != kOnnxTokens) {
    refuse_config(
        "tensor " + tensor.name +
        ": expected a shape that begins with the tokens and goes on, since Triton batches by the "
        "first length");
  }
  check_name(tensor.name);
  text << field << " {\n  name: \"" << tensor.name << "\"\n  data_type: " << triton_type(tensor)
       << "\n  dims: [";
  for (size_t i = 1; i < tensor.shape.size(); ++i) {
    text << (i == 1 ? "" : ", ") << tensor.shape[i];
  }
  text << "]\n}\n";
}

}  // namespace

std::string triton_config(const OnnxGraph& graph, const TritonOptions& options) {
  check_name(options.name);
  std::ostringstream text;
  text
      << "# A request's batch is its tokens: each is projected alone, so those of several requests "
         "share a run.\n"
      << "name: \"" << options.name << "\"\n"
      << "platform: \"onnxruntime_onnx\"\n"
      << "backend: \"onnxruntime\"\n"
      << "max_batch_size: " << options.max_batch_size << "\n";
  for (const OnnxTensor& input : graph.inputs()) write_tensor(text, "input", input);
  for (const OnnxTensor& output : graph.outputs()) write_tensor(text, "output", output);
  text << "dynamic_batching {\n  max_queue_delay_microseconds: " << options.max_queue_delay_us
       << "\n}\n";
  return text.str();
}

}  // namespace kvalign
