// See frozen_map.h.
#include "frozen_map.h"

#include <ATen/ATen.h>

#include "fresh_tensor.h"
#include "kvalign/ops/frozen_linear.h"

namespace kvalign {
namespace {

// The outputs of one group as a matrix, a view: its streams follow one another in a token's row, or
// it has one.
at::Tensor matrix_of_group(const at::Tensor& output_RTD, int64_t group, int64_t streams) {
  const at::Tensor first = output_RTD.narrow(0, group * streams, streams);
  return first.as_strided({first.size(1), streams * first.size(2)}, {first.stride(1), 1});
}

}  // namespace

FrozenMap::FrozenMap(const ProjectorShape& shape,
                     const std::function<StreamMap(int64_t stream)>& map_of, at::ScalarType dtype)
    : shape_(shape) {
  const int64_t streams = shape.num_streams / shape.num_groups, outputs = streams * shape.width;
  for (int64_t stream = 0; stream < shape.num_streams; ++stream) {
    const StreamMap map = map_of(stream);
    if (stream == 0) {
      const at::TensorOptions like = map.weight_DF.options().dtype(dtype);
      const bool by_output = like.device().is_cpu() && dtype != at::kFloat;
      weight_ =
          at::empty(by_output ? at::IntArrayRef({shape.num_groups, outputs, shape.num_features})
                              : at::IntArrayRef({shape.num_groups, shape.num_features, outputs}),
                    like);
      if (map.bias_D.defined()) {
        bias_GO_ = at::empty({shape.num_groups, outputs}, like.dtype(feature_dtype()));
      }
    }
    const at::Tensor group_weight = weight_[stream / streams];
    const int64_t first = stream % streams * shape.width;
    (converts() ? group_weight : group_weight.t())
        .narrow(0, first, shape.width)
        .copy_(map.weight_DF);
    if (bias_GO_.defined()) {
      bias_GO_[stream / streams].narrow(0, first, shape.width).copy_(map.bias_D);
    }
  }
}

at::ScalarType FrozenMap::feature_dtype() const {
  return device().is_cpu() ? at::kFloat : weight_.scalar_type();
}

bool FrozenMap::converts() const {
  return weight_.scalar_type() != feature_dtype();
}

at::Tensor FrozenMap::empty_output(int64_t num_tokens) const {
  const at::TensorOptions options = weight_.options().dtype(feature_dtype());
  if (shape_.num_groups == shape_.num_streams) {
    return fresh_tensor({shape_.num_streams, num_tokens, shape_.width}, options);
  }
  return fresh_tensor({num_tokens, shape_.num_streams, shape_.width}, options).transpose(0, 1);
}

void FrozenMap::write(const at::Tensor& features_GTF, at::Tensor& output_RTD,
                      int64_t first_group) const {
  const int64_t num_groups = features_GTF.size(0);
  const int64_t streams = shape_.num_streams / shape_.num_groups;
  const bool has_bias = bias_GO_.defined();
  if (!converts() && streams == 1 && num_groups > 1) {
    const at::Tensor weight_GFO = weight_.narrow(0, first_group, num_groups);
    has_bias ? at::baddbmm_out(output_RTD, bias_GO_.narrow(0, first_group, num_groups).unsqueeze(1),
                               features_GTF, weight_GFO)
             : at::bmm_out(output_RTD, features_GTF, weight_GFO);
    return;
  }
  for (int64_t group = 0; group < num_groups; ++group) {
    at::Tensor output_TO = matrix_of_group(output_RTD, group, streams);
    const at::Tensor features_TF = features_GTF[group], weight = weight_[first_group + group];
    const at::Tensor bias_O = has_bias ? bias_GO_[first_group + group] : at::Tensor();
    if (converts()) {
      output_TO.copy_(frozen_linear(features_TF, weight, bias_O));
    } else if (has_bias) {
      at::addmm_out(output_TO, bias_O, features_TF, weight);
    } else {
      at::mm_out(output_TO, features_TF, weight);
    }
  }
}

at::Tensor FrozenMap::run(const at::Tensor& features_GTF) const {
  at::Tensor output_RTD = empty_output(features_GTF.size(1));
  write(features_GTF, output_RTD);
  return output_RTD;
}

}  // namespace kvalign
