// Copying by name, with errors that say which name.
#include "named_tensors.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace kvalign {

std::vector<NamedTensor> named_tensors(const torch::nn::Module& module, const std::string& prefix) {
  std::vector<NamedTensor> tensors;
  for (const auto& item : module.named_parameters()) {
    tensors.push_back({prefix + item.key(), item.value()});
  }
  for (const auto& item : module.named_buffers()) {
    tensors.push_back({prefix + item.key(), item.value()});
  }
  return tensors;
}

void copy_by_name(const std::vector<NamedTensor>& own, const std::vector<NamedTensor>& saved,
                  const std::string& where) {
  const at::NoGradGuard no_grad;
  for (const NamedTensor& target : own) {
    const auto source = std::find_if(saved.begin(), saved.end(), [&](const NamedTensor& tensor) {
      return tensor.name == target.name;
    });
    TORCH_CHECK(source != saved.end(), where, ": tensor ", target.name,
                " is missing. Was this saved from another projector?");
    TORCH_CHECK(source->tensor.sizes() == target.tensor.sizes(), where, ": expected ", target.name,
                " of shape ", target.tensor.sizes(), ", got ", source->tensor.sizes(),
                ". Was this saved from another projector?");
    target.tensor.detach().copy_(source->tensor);
  }
}

std::vector<NamedTensor> with_prefix_removed(const std::vector<NamedTensor>& tensors,
                                             const std::string& prefix) {
  std::vector<NamedTensor> found;
  for (const NamedTensor& tensor : tensors) {
    if (tensor.name.starts_with(prefix)) {
      found.push_back({tensor.name.substr(prefix.size()), tensor.tensor});
    }
  }
  return found;
}

bool has_statistics(const std::vector<NamedTensor>& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const NamedTensor& tensor) {
    return tensor.name.find("_statistics.") != std::string::npos;
  });
}

FeatureStatistics identity_statistics(const ProjectorShape& shape) {
  return {at::zeros({shape.num_groups, shape.num_features}),
          at::ones({shape.num_groups, shape.num_features}),
          at::zeros({shape.num_streams, shape.width}), at::ones({shape.num_streams, shape.width})};
}

void set_identity_statistics(const KvProjector& projector) {
  for (Projector* part : {&projector.projector(), projector.receiver_part()}) {
    if (part) part->set_standardisation(identity_statistics(part->shape()));
  }
}

}  // namespace kvalign
