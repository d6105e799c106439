// Where the files of an exported model go. See the header.
#include "kvalign/deploy/onnx_export.h"

#include "projector_graph.h"

namespace kvalign {

OnnxExport write_projector_graph(ProjectorGraph& graph, const std::string& output) {
  const OnnxGraph& model = graph.builder.graph();
  const std::string file = output.substr(output.rfind('/') + 1);
  OnnxExport result;
  result.model = output;
  result.opset = model.opset();
  result.inputs = model.inputs();
  result.outputs = model.outputs();
  result.sizes = write_onnx_model(
      output, model, {.data_name = file + "." + graph.checkpoint_sha256.substr(0, 12) + ".data"});
  return result;
}

OnnxExport export_onnx(const std::string& checkpoint, const std::string& output,
                       const OnnxExportOptions& options) {
  ProjectorGraph graph = make_projector_graph(checkpoint, options, CodeType::kFloat8);
  return write_projector_graph(graph, output);
}

}  // namespace kvalign
