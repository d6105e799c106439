// The operations that projectors are made of, as ONNX nodes: linear maps of streams, norms, GELU.
// Private to deploy/.
//
// Shapes:  T tokens   G feature groups (divides R)   F features   R streams   D width
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/onnx/graph.h"

namespace kvalign {

// A value of the graph, [T, count, width].
struct OnnxStreams {
  std::string value;
  int64_t count = 0;
};

class OnnxBuilder {
 public:
  OnnxBuilder(const std::string& name, int64_t opset) : graph_(name, opset) {}

  OnnxGraph& graph() { return graph_; }

  // Held by this object, on whose life the graph's bytes depend; contiguous tensors are not copied.
  std::string constant(const std::string& name, const at::Tensor& tensor);

  // One output, whose name is made up where it is empty.
  std::string op(const std::string& type, std::vector<std::string> inputs,
                 std::vector<OnnxAttribute> attributes = {}, std::string output = "");
  // A length of 0 stays what it is, as in ONNX.
  std::string reshape(const std::string& value, const std::vector<int64_t>& shape,
                      const std::string& output = "");
  // The second operand is a number for all elements.
  std::string op_with(const std::string& type, const std::string& value, double number);

  // weight_RDF x + bias_RD, [T, G, F] -> [T, R, D]; `name` opens the names of the constants. No
  // bias where it is undefined.
  OnnxStreams linear(const OnnxStreams& x_TGF, const std::string& name,
                     const at::Tensor& weight_RDF, const at::Tensor& bias_RD);
  // x * Phi(x), with the exact (erf) Phi; in the nodes by which runtimes recognise it.
  OnnxStreams gelu(const OnnxStreams& x);
  // (x - E x) / sqrt(Var x + epsilon) * gamma + beta over D.
  OnnxStreams layer_norm(const OnnxStreams& x_TRD, double epsilon, const at::Tensor& gamma_RD,
                         const at::Tensor& beta_RD);
  // x / sqrt(E x^2 + epsilon) * gamma over D.
  OnnxStreams rms_norm(const OnnxStreams& x_TRD, double epsilon, const at::Tensor& gamma_RD);

 private:
  std::string fresh(const std::string& type);
  std::string shape_constant(const std::vector<int64_t>& lengths);

  OnnxGraph graph_;
  std::vector<at::Tensor> held_;
  int64_t num_named_ = 0;
};

}  // namespace kvalign
