// Adds batches as float64 products. See the header for shapes.
#include "kvalign/projector/ridge_statistics.h"

#include <ATen/ATen.h>

namespace kvalign {
namespace {

const at::Tensor& check_size(const at::Tensor& tensor, at::IntArrayRef expected, const char* name) {
  TORCH_CHECK(tensor.sizes() == expected && tensor.scalar_type() == at::kDouble,
              "RidgeStatistics: expected ", name, " of shape ", expected, " in float64, got ",
              tensor.scalar_type(), " ", tensor.sizes(),
              ". Are these the statistics of another pair or layer map?");
  return tensor;
}

}  // namespace

RidgeStatistics::RidgeStatistics(const ProjectorShape& shape, c10::Device device) : shape_(shape) {
  const at::TensorOptions options = at::TensorOptions(device).dtype(at::kDouble);
  const int64_t outputs = shape.num_streams / shape.num_groups * shape.width;
  num_tokens_ = at::zeros({1}, at::kLong);
  feature_products_GFF_ =
      at::zeros({shape.num_groups, shape.num_features, shape.num_features}, options);
  output_products_GFO_ = at::zeros({shape.num_groups, shape.num_features, outputs}, options);
  feature_sums_GF_ = at::zeros({shape.num_groups, shape.num_features}, options);
  output_sums_RD_ = at::zeros({shape.num_streams, shape.width}, options);
  output_squares_RD_ = at::zeros({shape.num_streams, shape.width}, options);
}

int64_t RidgeStatistics::num_tokens() const {
  return num_tokens_.item<int64_t>();
}

void RidgeStatistics::add(const at::Tensor& features_GTF, const at::Tensor& targets_RTD) {
  const int64_t num_tokens = features_GTF.dim() == 3 ? features_GTF.size(1) : -1;
  TORCH_CHECK(
      features_GTF.sizes() ==
              at::IntArrayRef({shape_.num_groups, num_tokens, shape_.num_features}) &&
          targets_RTD.sizes() == at::IntArrayRef({shape_.num_streams, num_tokens, shape_.width}),
      "RidgeStatistics::add: expected features [", shape_.num_groups, ", T, ", shape_.num_features,
      "] and targets [", shape_.num_streams, ", T, ", shape_.width, "], got ", features_GTF.sizes(),
      " and ", targets_RTD.sizes());
  const at::NoGradGuard no_gradients;
  const auto here = feature_sums_GF_.options();
  const at::Tensor targets = targets_RTD.to(here.device()).to(at::kDouble);
  const int64_t streams = shape_.num_streams / shape_.num_groups;
  for (int64_t group = 0; group < shape_.num_groups; ++group) {
    const at::Tensor features_TF = features_GTF[group].to(here.device()).to(at::kDouble);
    const at::Tensor outputs_TO = targets.narrow(0, group * streams, streams)
                                      .transpose(0, 1)
                                      .reshape({num_tokens, streams * shape_.width});
    feature_products_GFF_[group].addmm_(features_TF.t(), features_TF);
    output_products_GFO_[group].addmm_(features_TF.t(), outputs_TO);
    feature_sums_GF_[group] += features_TF.sum(0);
  }
  output_sums_RD_ += targets.sum(1);
  output_squares_RD_ += targets.square().sum(1);
  num_tokens_ += num_tokens;
}

void RidgeStatistics::merge(const RidgeStatistics& other) {
  const std::vector<NamedTensor> own = tensors(), others = other.tensors();
  for (size_t i = 0; i < own.size(); ++i) {
    TORCH_CHECK(own[i].tensor.sizes() == others[i].tensor.sizes(),
                "RidgeStatistics::merge: expected ", own[i].name, " of shape ",
                own[i].tensor.sizes(), ", got ", others[i].tensor.sizes(),
                ". Only statistics of one pair and one layer map can be merged");
  }
  for (size_t i = 0; i < own.size(); ++i) {
    at::Tensor sum = own[i].tensor;
    sum += others[i].tensor.to(sum.device());
  }
}

RidgeStatistics RidgeStatistics::to(c10::Device device) const {
  RidgeStatistics moved = *this;
  for (at::Tensor* sums :
       {&moved.feature_products_GFF_, &moved.output_products_GFO_, &moved.feature_sums_GF_,
        &moved.output_sums_RD_, &moved.output_squares_RD_}) {
    *sums = sums->to(device);
  }
  return moved;
}

RidgeStatistics RidgeStatistics::restricted_to(const FeaturePlan& plan) const {
  const auto& groups = plan.group_streams();
  const int64_t width = plan.num_features() / static_cast<int64_t>(groups.front().size());
  TORCH_CHECK(shape_.num_groups == 1 && shape_.num_streams == plan.num_streams() &&
                  shape_.num_features == plan.num_sender_streams() * width,
              "RidgeStatistics::restricted_to: expected sums of one group of ",
              plan.num_sender_streams() * width, " features and ", plan.num_streams(),
              " streams, got ", shape_.num_groups, " of ", shape_.num_features, " and ",
              shape_.num_streams, ". Make them with layer map all and features both");
  const at::NoGradGuard no_gradients;
  RidgeStatistics part({.num_groups = plan.num_groups(),
                        .num_features = plan.num_features(),
                        .num_streams = shape_.num_streams,
                        .width = shape_.width},
                       feature_sums_GF_.device());
  part.num_tokens_.copy_(num_tokens_);
  part.output_sums_RD_.copy_(output_sums_RD_);
  part.output_squares_RD_.copy_(output_squares_RD_);
  const int64_t outputs = part.output_products_GFO_.size(2);
  for (int64_t g = 0; g < plan.num_groups(); ++g) {
    const at::Tensor streams = at::tensor(groups[static_cast<size_t>(g)]);
    const at::Tensor places_F = (streams.unsqueeze(1) * width + at::arange(width, at::kLong))
                                    .flatten()
                                    .to(feature_sums_GF_.device());
    part.feature_products_GFF_[g].copy_(
        feature_products_GFF_[0].index_select(0, places_F).index_select(1, places_F));
    part.output_products_GFO_[g].copy_(
        output_products_GFO_[0].narrow(1, g * outputs, outputs).index_select(0, places_F));
    part.feature_sums_GF_[g].copy_(feature_sums_GF_[0].index_select(0, places_F));
  }
  return part;
}

std::vector<NamedTensor> RidgeStatistics::tensors() const {
  return {{"num_tokens", num_tokens_},
          {"feature_products", feature_products_GFF_},
          {"output_products", output_products_GFO_},
          {"feature_sums", feature_sums_GF_},
          {"output_sums", output_sums_RD_},
          {"output_squares", output_squares_RD_}};
}

RidgeStatistics RidgeStatistics::from_file(const SafetensorsFile& file) {
  const std::vector<int64_t>& features = file.info("feature_sums").shape;
  const std::vector<int64_t>& outputs = file.info("output_sums").shape;
  TORCH_CHECK(features.size() == 2 && outputs.size() == 2 && features[0] > 0 &&
                  outputs[0] % features[0] == 0,
              file.path(),
              ": expected feature_sums [groups, features] and output_sums [streams, width] with "
              "groups that divide the streams, got ",
              at::IntArrayRef(features), " and ", at::IntArrayRef(outputs));
  RidgeStatistics statistics({.num_groups = features[0],
                              .num_features = features[1],
                              .num_streams = outputs[0],
                              .width = outputs[1]});
  for (const NamedTensor& own : statistics.tensors()) {
    file.check_finite(own.name);
    at::Tensor sum = own.tensor;
    const at::Tensor saved = file.tensor(own.name);
    if (own.name != "num_tokens") check_size(saved, sum.sizes(), own.name.c_str());
    sum.copy_(saved);
  }
  return statistics;
}

}  // namespace kvalign
