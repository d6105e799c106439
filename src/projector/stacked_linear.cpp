// The GEMM calls, chosen by how streams share features; see the header for shapes.
#include "stacked_linear.h"

#include <ATen/ATen.h>

#include <cmath>

namespace kvalign {

at::Tensor stacked_linear(const at::Tensor& features_GTF, const at::Tensor& weight_RDF,
                          const at::Tensor& bias_RD) {
  const int64_t num_groups = features_GTF.size(0);
  const int64_t num_tokens = features_GTF.size(1);
  const int64_t num_streams = weight_RDF.size(0);
  const int64_t width = weight_RDF.size(1);
  const int64_t streams_per_group = num_streams / num_groups;
  if (num_groups == 1) {
    const at::Tensor bias = bias_RD.defined() ? bias_RD.flatten() : bias_RD;
    return at::linear(features_GTF[0], weight_RDF.flatten(0, 1), bias)
        .view({num_tokens, num_streams, width})
        .transpose(0, 1);
  }
  const at::Tensor weight_GFO =
      weight_RDF.view({num_groups, streams_per_group * width, -1}).transpose(1, 2);
  const at::Tensor output_GTO =
      bias_RD.defined() ? at::baddbmm(bias_RD.view({num_groups, 1, streams_per_group * width}),
                                      features_GTF, weight_GFO)
                        : at::bmm(features_GTF, weight_GFO);
  if (streams_per_group == 1) {
    return output_GTO;
  }
  return output_GTO.view({num_groups, num_tokens, streams_per_group, width})
      .transpose(1, 2)
      .reshape({num_streams, num_tokens, width});
}

StackedLinear::StackedLinear(const ProjectorShape& shape, BiasInit bias_init,
                             at::Generator& generator) {
  const double limit = 1.0 / std::sqrt(static_cast<double>(shape.num_features));
  weight_RDF_ =
      register_parameter("weight", at::empty({shape.num_streams, shape.width, shape.num_features})
                                       .uniform_(-limit, limit, generator));
  at::Tensor bias_RD = at::zeros({shape.num_streams, shape.width});
  if (bias_init == BiasInit::kUniform) {
    bias_RD.uniform_(-limit, limit, generator);
  }
  bias_RD_ = register_parameter("bias", bias_RD);
}

at::Tensor StackedLinear::forward(const at::Tensor& features_GTF) const {
  return stacked_linear(features_GTF, weight_RDF_, bias_RD_);
}

at::Tensor StackedLinear::forward_frozen(const at::Tensor& features_GTF) const {
  return stacked_linear(features_GTF, weight_RDF_.detach(), bias_RD_.detach());
}

// Both folds work in float64: with a mean far from 0, float32 would lose the bias to cancellation.
void StackedLinear::fold_input(const at::Tensor& mean_GF, const at::Tensor& scale_GF) {
  const at::NoGradGuard no_gradients;
  const int64_t num_groups = mean_GF.size(0);
  const at::Tensor weight_GOF =
      weight_RDF_.view({num_groups, -1, weight_RDF_.size(2)}).to(at::kDouble) /
      scale_GF.to(at::kDouble).unsqueeze(1);
  const at::Tensor shift_GO = at::bmm(weight_GOF, mean_GF.to(at::kDouble).unsqueeze(2)).squeeze(2);
  weight_RDF_.copy_(weight_GOF.view(weight_RDF_.sizes()));
  bias_RD_.copy_(bias_RD_.to(at::kDouble) - shift_GO.view(bias_RD_.sizes()));
}

void StackedLinear::fold_output(const at::Tensor& mean_RD, const at::Tensor& scale_RD) {
  const at::NoGradGuard no_gradients;
  const at::Tensor scale = scale_RD.to(at::kDouble);
  weight_RDF_.copy_(weight_RDF_.to(at::kDouble) * scale.unsqueeze(2));
  bias_RD_.copy_(bias_RD_.to(at::kDouble) * scale + mean_RD.to(at::kDouble));
}

}  // namespace kvalign
