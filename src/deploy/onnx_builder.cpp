// Nodes and constants. See the header for shapes.
#include "onnx_builder.h"

#include <ATen/ATen.h>

#include <cctype>
#include <cmath>
#include <utility>

namespace kvalign {
namespace {

OnnxType onnx_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return OnnxType::kFloat;
    case at::kLong:
      return OnnxType::kInt64;
    case at::kFloat8_e4m3fn:
      return OnnxType::kFloat8E4M3FN;
    default:
      TORCH_INTERNAL_ASSERT(false, "no graph has a constant of type ", type);
  }
}

}  // namespace

std::string OnnxBuilder::fresh(const std::string& type) {
  std::string name;
  for (const char c : type) name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name + "_" + std::to_string(++num_named_);
}

std::string OnnxBuilder::constant(const std::string& name, const at::Tensor& tensor) {
  held_.push_back(tensor.detach().contiguous());
  const at::Tensor& held = held_.back();
  graph_.add_constant({.tensor = {name, onnx_type(held.scalar_type()), held.sizes().vec()},
                       .bytes = {static_cast<const char*>(held.const_data_ptr()), held.nbytes()}});
  return name;
}

std::string OnnxBuilder::shape_constant(const std::vector<int64_t>& lengths) {
  return constant(fresh("shape"), at::tensor(lengths, at::kLong));
}

std::string OnnxBuilder::op(const std::string& type, std::vector<std::string> inputs,
                            std::vector<OnnxAttribute> attributes, std::string output) {
  if (output.empty()) output = fresh(type);
  graph_.add_node({type, std::move(inputs), {output}, std::move(attributes)});
  return output;
}

std::string OnnxBuilder::reshape(const std::string& value, const std::vector<int64_t>& shape,
                                 const std::string& output) {
  return op("Reshape", {value, shape_constant(shape)}, {}, output);
}

std::string OnnxBuilder::op_with(const std::string& type, const std::string& value, double number) {
  return op(type, {value, constant(fresh("number"), at::scalar_tensor(number, at::kFloat))});
}

// One plain GEMM where all streams read the same features, with the weights as they are; else one a
// group, batched. Groups' outputs are [G, T, R / G * D].
OnnxStreams OnnxBuilder::linear(const OnnxStreams& x_TGF, const std::string& name,
                                const at::Tensor& weight_RDF, const at::Tensor& bias_RD) {
  const int64_t num_streams = weight_RDF.size(0);
  const int64_t width = weight_RDF.size(1);
  const int64_t num_features = weight_RDF.size(2);
  const int64_t num_groups = x_TGF.count;
  const auto with_bias = [&](std::vector<std::string> inputs, at::IntArrayRef shape) {
    if (bias_RD.defined()) inputs.push_back(constant(name + ".bias", bias_RD.reshape(shape)));
    return inputs;
  };
  std::string output;
  if (num_groups == 1) {
    const std::string x_TF = reshape(x_TGF.value, {0, num_features});
    const std::string weight = constant(name + ".weight", weight_RDF.flatten(0, 1));
    output = op("Gemm", with_bias({x_TF, weight}, {num_streams * width}), {{"transB", int64_t{1}}});
  } else {
    const at::Tensor weight_GFO =
        weight_RDF.reshape({num_groups, -1, num_features}).transpose(1, 2);
    const OnnxAttribute swap{"perm", std::vector<int64_t>{1, 0, 2}};
    const std::string x_GTF = op("Transpose", {x_TGF.value}, {swap});
    const std::string product = op("MatMul", {x_GTF, constant(name + ".weight", weight_GFO)});
    const std::vector<std::string> sum = with_bias({product}, {num_groups, 1, -1});
    output = op("Transpose", {sum.size() == 1 ? product : op("Add", sum)}, {swap});
  }
  return {reshape(output, {0, num_streams, width}), num_streams};
}

OnnxStreams OnnxBuilder::gelu(const OnnxStreams& x) {
  const std::string erf = op("Erf", {op_with("Div", x.value, std::sqrt(2.0))});
  const std::string product = op("Mul", {x.value, op_with("Add", erf, 1.0)});
  return {op_with("Mul", product, 0.5), x.count};
}

// The operator's own scale and bias are of one stream.
OnnxStreams OnnxBuilder::layer_norm(const OnnxStreams& x_TRD, double epsilon,
                                    const at::Tensor& gamma_RD, const at::Tensor& beta_RD) {
  const std::vector<OnnxAttribute> attributes = {{"axis", int64_t{-1}},
                                                 {"epsilon", static_cast<float>(epsilon)}};
  const std::string gamma = "norm.gamma";
  const std::string beta = "norm.beta";
  if (x_TRD.count == 1) {
    constant(gamma, gamma_RD[0]);
    constant(beta, beta_RD[0]);
    return {op("LayerNormalization", {x_TRD.value, gamma, beta}, attributes), 1};
  }
  const std::string ones = constant(fresh("ones"), at::ones({gamma_RD.size(1)}));
  const std::string normal = op("LayerNormalization", {x_TRD.value, ones}, attributes);
  const std::string scaled = op("Mul", {normal, constant(gamma, gamma_RD)});
  return {op("Add", {scaled, constant(beta, beta_RD)}), x_TRD.count};
}

// RMSNormalization comes with opset 23, and ReduceMean changed at 18; ReduceSum did not.
OnnxStreams OnnxBuilder::rms_norm(const OnnxStreams& x_TRD, double epsilon,
                                  const at::Tensor& gamma_RD) {
  const std::string squares = op("Mul", {x_TRD.value, x_TRD.value});
  const std::string sum = op("ReduceSum", {squares, shape_constant({-1})});
  const std::string mean = op_with("Mul", sum, 1.0 / static_cast<double>(gamma_RD.size(1)));
  const std::string root = op("Sqrt", {op_with("Add", mean, epsilon)});
  const std::string normal = op("Div", {x_TRD.value, root});
  return {op("Mul", {normal, constant("norm.gamma", gamma_RD)}), x_TRD.count};
}

}  // namespace kvalign
