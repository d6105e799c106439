// See frozen_map.h.
#include "frozen_map.h"

#include <ATen/ATen.h>

#include <algorithm>

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

// Weights of a group below which oneDNN takes longer to begin than others for the whole product.
constexpr int64_t kFewestPackedWeights = int64_t{1} << 17;

// For a single row one thread reads packed weights at half the speed of memory: maps up to this
// size are held twice.
constexpr size_t kMostPlainBytes = size_t{64} << 20;

// In blocks of rows that malloc keeps the memory of: oneDNN makes a tensor of its own for each, and
// the pages of a large one come slowly (fresh_tensor.h).
void write_packed(const PackedLinear& map, const at::Tensor& features_TF,
                  const at::Tensor& output_TO) {
  const int64_t row_bytes = output_TO.size(1) * static_cast<int64_t>(sizeof(float));
  const int64_t block = std::max<int64_t>(1, kMappedBytes / 2 / row_bytes);
  for (int64_t first = 0; first < output_TO.size(0); first += block) {
    const int64_t rows = std::min(block, output_TO.size(0) - first);
    output_TO.narrow(0, first, rows).copy_(map.run(features_TF.narrow(0, first, rows)));
  }
}

}  // namespace

FrozenMap::FrozenMap(const ProjectorShape& shape,
                     const std::function<StreamMap(int64_t stream)>& map_of,
                     const FrozenLayout& layout)
    : shape_(shape), options_(layout.dtype), packs_(layout.packs) {
  const int64_t streams = streams_of_group();
  for (int64_t stream = 0; stream < shape.num_streams; ++stream) {
    const StreamMap map = map_of(stream);
    if (stream == 0) allocate(map);
    const int64_t group = stream / streams, place = stream % streams;
    const at::Tensor weight_OF = group_weight_OF(group);
    weight_OF.narrow(0, place * shape.width, shape.width).copy_(map.weight_DF);
    if (bias_GO_.defined()) {
      bias_GO_[group].narrow(0, place * shape.width, shape.width).copy_(map.bias_D);
    }
    if (packs_ && place == streams - 1) {
      packed_.emplace_back(weight_OF, bias_GO_.defined() ? bias_GO_[group] : at::Tensor());
      if (weight_OF.nbytes() <= kMostPlainBytes) {
        group_weights_.push_back(weight_OF.t().contiguous());
      }
    }
  }
  if (packs_) weight_ = at::Tensor();
  if (weight_.defined()) group_weights_ = weight_.unbind(0);
  if (bias_GO_.defined()) group_biases_ = bias_GO_.unbind(0);
}

void FrozenMap::allocate(const StreamMap& like) {
  options_ = options_.device(like.weight_DF.device());
  const int64_t outputs = streams_of_group() * shape_.width;
  packs_ = packs_ && options_.device().is_cpu() && !converts() && PackedLinear::is_available() &&
           (streams_of_group() > 1 || shape_.num_groups == 1) &&
           outputs * shape_.num_features >= kFewestPackedWeights;
  weight_ = packs_       ? at::empty({outputs, shape_.num_features}, options_)
            : converts() ? at::empty({shape_.num_groups, outputs, shape_.num_features}, options_)
                         : at::empty({shape_.num_groups, shape_.num_features, outputs}, options_);
  if (like.bias_D.defined()) {
    bias_GO_ = at::empty({shape_.num_groups, outputs}, options_.dtype(feature_dtype()));
  }
}

at::Tensor FrozenMap::group_weight_OF(int64_t group) {
  if (packs_) return weight_;
  return converts() ? weight_[group] : weight_[group].t();
}

at::ScalarType FrozenMap::feature_dtype() const {
  return options_.device().is_cpu() ? at::kFloat : c10::typeMetaToScalarType(options_.dtype());
}

bool FrozenMap::converts() const {
  return c10::typeMetaToScalarType(options_.dtype()) != feature_dtype();
}

bool FrozenMap::multiplies_packed(int64_t num_tokens) const {
  return packs_ && (num_tokens > 1 || group_weights_.empty());
}

at::Tensor FrozenMap::empty_output(int64_t num_tokens) const {
  const at::TensorOptions options = options_.dtype(feature_dtype());
  if (shape_.num_groups == shape_.num_streams) {
    return fresh_tensor({shape_.num_streams, num_tokens, shape_.width}, options);
  }
  return fresh_tensor({num_tokens, shape_.num_streams, shape_.width}, options).transpose(0, 1);
}

void FrozenMap::write(const at::Tensor& features_GTF, at::Tensor& output_RTD,
                      int64_t first_group) const {
  const int64_t num_groups = features_GTF.size(0);
  const int64_t streams = streams_of_group();
  const bool has_bias = !group_biases_.empty();
  if (!converts() && !packs_ && streams == 1 && num_groups > 1) {
    const at::Tensor weight_GFO = weight_.narrow(0, first_group, num_groups);
    has_bias ? at::baddbmm_out(output_RTD, bias_GO_.narrow(0, first_group, num_groups).unsqueeze(1),
                               features_GTF, weight_GFO)
             : at::bmm_out(output_RTD, features_GTF, weight_GFO);
    return;
  }
  for (int64_t group = 0; group < num_groups; ++group) {
    const auto place = static_cast<size_t>(first_group + group);
    at::Tensor output_TO = matrix_of_group(output_RTD, group, streams);
    const at::Tensor features_TF = features_GTF[group];
    if (multiplies_packed(features_TF.size(0))) {
      write_packed(packed_[place], features_TF, output_TO);
      continue;
    }
    const at::Tensor& weight = group_weights_[place];
    const at::Tensor bias_O = has_bias ? group_biases_[place] : at::Tensor();
    if (converts()) {
      output_TO.copy_(frozen_linear(features_TF, weight, bias_O));
    } else if (has_bias) {
      at::addmm_out(output_TO, bias_O, features_TF, weight);
    } else {
      at::mm_out(output_TO, features_TF, weight);
    }
  }
}

at::Tensor FrozenMap::streams_of(const at::Tensor& output_TO) const {
  if (shape_.num_streams == 1) return output_TO.unsqueeze(0);
  return output_TO.view({output_TO.size(0), shape_.num_streams, shape_.width}).transpose(0, 1);
}

at::Tensor FrozenMap::run(const at::Tensor& features_GTF) const {
  const int64_t output_bytes = features_GTF.size(1) * shape_.num_streams * shape_.width *
                               static_cast<int64_t>(sizeof(float));
  if (shape_.num_groups == 1 && multiplies_packed(features_GTF.size(1)) &&
      output_bytes < kMappedBytes) {
    return streams_of(packed_.front().run(features_GTF[0]));
  }
  if (shape_.num_groups == 1 && !options_.device().is_cpu()) {
    // As few operations as can be: for a few tokens the host takes longer than the device.
    const at::Tensor& weight_FO = group_weights_.front();
    const at::Tensor features_TF = features_GTF[0];
    return streams_of(group_biases_.empty()
                          ? at::mm(features_TF, weight_FO)
                          : at::addmm(group_biases_.front(), features_TF, weight_FO));
  }
  at::Tensor output_RTD = empty_output(features_GTF.size(1));
  write(features_GTF, output_RTD);
  return output_RTD;
}

}  // namespace kvalign
