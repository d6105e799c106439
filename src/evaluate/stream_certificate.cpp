// One kind of projector after the other. See stream_certificate.h.
#include "kvalign/evaluate/stream_certificate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <memory>
#include <stdexcept>

#include "kvalign/bounds/low_rank_certificate.h"
#include "kvalign/bounds/mlp_certificate.h"
#include "kvalign/bounds/projector_certificate.h"

namespace kvalign {
namespace {

// Weights of one stream by name.
class StreamWeights {
 public:
  StreamWeights(const Projector& projector, int64_t stream)
      : weights_(projector.named_parameters()), stream_(stream) {}

  Eigen::MatrixXd matrix(const char* name) const { return to_matrix(weights_[name][stream_]); }
  Eigen::VectorXd vector(const char* name) const { return to_vector(weights_[name][stream_]); }

  // What follows the maps: gamma of norm layer and rms.
  OutputNormParameters norm(const ProjectorOptions& options) const {
    if (options.norm == "none") return {};
    return {.kind = options.norm == "layer" ? OutputNorm::kLayer : OutputNorm::kRms,
            .epsilon = options.norm_epsilon,
            .gamma = vector("norm.gamma")};
  }

 private:
  torch::OrderedDict<std::string, at::Tensor> weights_;
  int64_t stream_;
};

template <class Kind>
StreamCertificate share(Kind&& certificate) {
  const auto shared = std::make_shared<const std::decay_t<Kind>>(std::forward<Kind>(certificate));
  return [shared](const Eigen::VectorXd& decoded, const Eigen::VectorXd& half_widths) {
    return shared->bound(decoded, half_widths);
  };
}

}  // namespace

std::vector<double> to_list(const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kCPU, at::kDouble).flatten().contiguous();
  const auto* data = flat.const_data_ptr<double>();
  return {data, data + flat.numel()};
}

Eigen::MatrixXd to_matrix(const at::Tensor& values) {
  const at::Tensor contiguous = values.detach().to(at::kCPU, at::kDouble).contiguous();
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<const RowMajor>(contiguous.const_data_ptr<double>(), contiguous.size(0),
                                    contiguous.size(1));
}

Eigen::VectorXd to_vector(const at::Tensor& values) {
  const at::Tensor contiguous = values.detach().to(at::kCPU, at::kDouble).contiguous();
  return Eigen::Map<const Eigen::VectorXd>(contiguous.const_data_ptr<double>(), contiguous.size(0));
}

StreamCertificate make_stream_certificate(const Projector& projector, int64_t stream) {
  const ProjectorOptions& options = projector.options();
  const StreamWeights weights(projector, stream);
  if (options.kind == "linear_residual") {
    return share(LinearCertificate(weights.matrix("linear.weight"), weights.vector("linear.bias"),
                                   weights.norm(options)));
  }
  if (options.kind == "bidirectional") {
    return share(
        LinearCertificate(weights.matrix("expand.weight"), weights.vector("expand.bias"), {}));
  }
  if (options.kind == "low_rank") {
    return share(
        LinearCertificate(weights.matrix("decoder.weight"), weights.vector("decoder.bias"), {}));
  }
  if (options.kind == "autoencoder") {
    // One linear map in two factors, of which the first is shared.
    const StreamWeights first(projector, 0);
    const auto certificate = std::make_shared<const LowRankCertificate>(
        first.matrix("map.weight"), weights.matrix("decoder.weight"));
    return [certificate](const Eigen::VectorXd&, const Eigen::VectorXd& half_widths) {
      return certificate->cache_bound(half_widths);
    };
  }
  if (options.kind == "mlp") {
    return share(MlpCertificate({.hidden_weight = weights.matrix("input.weight"),
                                 .hidden_bias = weights.vector("input.bias"),
                                 .output_weight = weights.matrix("output.weight"),
                                 .output_bias = weights.vector("output.bias")},
                                weights.norm(options)));
  }
  if (options.kind == "residual_mlp") {
    const ProjectorShape& shape = projector.shape();
    const StreamWeights group(projector, stream / (shape.num_streams / shape.num_groups));
    return share(ResidualMlpCertificate(weights.matrix("linear.weight"),
                                        {.hidden_weight = group.matrix("hidden.weight"),
                                         .hidden_bias = group.vector("hidden.bias"),
                                         .output_weight = weights.matrix("output.weight"),
                                         .output_bias = weights.vector("output.bias")}));
  }
  throw std::invalid_argument(
      "make_stream_certificate: expected linear_residual, bidirectional, low_rank, autoencoder, "
      "mlp or residual_mlp, got " +
      options.kind + ", which has no weights");
}

at::Tensor certified_bounds(const StreamCertificate& certificate, const at::Tensor& decoded_TF,
                            const at::Tensor& half_widths_TF) {
  at::Tensor certified_T = at::empty({decoded_TF.size(0)}, at::kDouble);
  auto* certified = certified_T.data_ptr<double>();
  at::parallel_for(0, decoded_TF.size(0), 1, [&](int64_t first, int64_t last) {
    for (int64_t token = first; token < last; ++token) {
      certified[token] =
          certificate(to_vector(decoded_TF[token]), to_vector(half_widths_TF[token])).value();
    }
  });
  return certified_T;
}

int64_t output_dimensions(const Projector& projector) {
  const ProjectorOptions& options = projector.options();
  const int64_t features = projector.shape().num_features;
  const int64_t norm = options.norm == "none" ? 0 : 1;
  if (options.kind == "low_rank" || options.kind == "autoencoder") return options.rank;
  if (options.kind == "mlp") return options.hidden_size + norm;
  if (options.kind == "residual_mlp") return features + options.hidden_size;
  return features + norm;
}

}  // namespace kvalign
