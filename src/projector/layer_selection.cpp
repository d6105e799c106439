// Greedy selection in sub-blocks of sums. See the header.
//
// Shapes:  F features   d sender width   R receiver streams   D receiver width   O outputs looked
// at
//          f features of the layers chosen so far
#include "kvalign/projector/layer_selection.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "centred_sums.h"

namespace kvalign {
namespace {

void check_reads_all(const RidgeStatistics& statistics, int64_t num_sender_streams) {
  const ProjectorShape& shape = statistics.shape();
  TORCH_CHECK(shape.num_groups == 1 && shape.num_features % num_sender_streams == 0,
              "layer selection: expected sums of layer map all with features both, of ",
              num_sender_streams, " sender streams, got ", shape.num_groups, " groups of ",
              shape.num_features, " features");
}

// Places of the features of some sender streams, int64 [f].
at::Tensor features_of(const std::vector<int64_t>& streams, int64_t width) {
  return (at::tensor(streams).unsqueeze(1) * width + at::arange(width, at::kLong)).flatten();
}

// Sums about the training means, in units of the training deviations, of the outputs looked at.
struct Standardised {
  at::Tensor products_FF;  // Z'Z
  at::Tensor cross_FRO;    // Z'Y
  at::Tensor squares_RO;   // of Y
};

Standardised standardise(const RidgeStatistics& sums, const RidgeStatistics& training) {
  const auto n = static_cast<double>(sums.num_tokens());
  const auto n_training = static_cast<double>(training.num_tokens());
  const ProjectorShape& shape = training.shape();
  const int64_t output_step = shape.width < 128 ? 1 : 16;
  const auto sampled = [&](const at::Tensor& tensor_XRD) {
    return tensor_XRD.slice(-1, 0, std::nullopt, output_step);
  };
  const at::Tensor mean_F = training.feature_sums()[0] / n_training;
  const at::Tensor mean_RO = sampled(training.output_sums()) / n_training;
  const at::Tensor variance_F =
      training.feature_products()[0].diagonal() / n_training - mean_F.square();
  // A constant feature has a correlation of 0 with everything, whatever it is divided by.
  const at::Tensor scale_F = variance_F.clamp_min(1e-24).sqrt();
  const at::Tensor &sums_F = sums.feature_sums()[0], sums_RO = sampled(sums.output_sums());
  const at::Tensor cross_FRO =
      sampled(sums.output_products()[0].view({-1, shape.num_streams, shape.width}))
          .clone(at::MemoryFormat::Contiguous);
  return {
      .products_FF = standardised_products(sums.feature_products()[0], sums_F, mean_F, scale_F, n),
      .cross_FRO = centre_in_place(cross_FRO.flatten(1), sums_F, sums_RO.flatten(), mean_F,
                                   mean_RO.flatten(), n)
                       .div_(scale_F.unsqueeze(1))
                       .view_as(cross_FRO),
      .squares_RO = sampled(sums.output_squares()) - 2 * mean_RO * sums_RO + n * mean_RO.square()};
}

class Selection {
 public:
  Selection(const RidgeStatistics& training, const RidgeStatistics& held_out,
            int64_t num_sender_layers, double lambda)
      : training_(standardise(training, training)),
        held_out_(standardise(held_out, training)),
        num_tokens_(static_cast<double>(training.num_tokens())),
        num_sender_layers_(num_sender_layers),
        sender_width_(training.shape().num_features / (2 * num_sender_layers)),
        num_receiver_layers_(training.shape().num_streams / 2),
        lambda_(lambda) {}

  std::vector<int64_t> choose(int64_t receiver_layer, int64_t count) const {
    const Outputs outputs = outputs_of(receiver_layer);
    std::vector<int64_t> chosen;
    while (static_cast<int64_t>(chosen.size()) < count) {
      int64_t best = -1;
      double least = std::numeric_limits<double>::infinity();
      for (int64_t layer = 0; layer < num_sender_layers_; ++layer) {
        if (std::find(chosen.begin(), chosen.end(), layer) != chosen.end()) continue;
        chosen.push_back(layer);
        const double error = held_out_error(outputs, chosen);
        chosen.pop_back();
        if (error < least) {
          least = error;
          best = layer;
        }
      }
      TORCH_CHECK(best >= 0, "select_layers: the errors of receiver layer ", receiver_layer,
                  " are not numbers. Are the sums finite?");
      chosen.push_back(best);
    }
    return chosen;
  }

 private:
  // The sampled keys, then values, of one receiver layer.
  struct Outputs {
    at::Tensor training_FO, held_out_FO;  // Z'Y / n and Z'Y
    at::Tensor held_out_squares_2;
  };

  Outputs outputs_of(int64_t receiver_layer) const {
    const at::Tensor streams = at::tensor({receiver_layer, receiver_layer + num_receiver_layers_});
    const auto of_layer = [&](const at::Tensor& cross_FRO) {
      return cross_FRO.index_select(1, streams).flatten(1);
    };
    return {.training_FO = of_layer(training_.cross_FRO) / num_tokens_,
            .held_out_FO = of_layer(held_out_.cross_FRO),
            .held_out_squares_2 =
                held_out_.squares_RO.index_select(0, streams).sum(1).clamp_min(1e-300)};
  }

  // Of keys and values, each relative to its held-out variance.
  double held_out_error(const Outputs& outputs, const std::vector<int64_t>& layers) const {
    std::vector<int64_t> streams;
    for (const int64_t layer : layers) {
      streams.push_back(layer);
      streams.push_back(layer + num_sender_layers_);
    }
    const at::Tensor places_f = features_of(streams, sender_width_);
    const auto chosen = [&](const at::Tensor& matrix_FX) {
      return matrix_FX.index_select(0, places_f);
    };
    at::Tensor penalised_ff = chosen(training_.products_FF).index_select(1, places_f) / num_tokens_;
    penalised_ff.diagonal() += lambda_;
    const at::Tensor weights_fO =
        at::cholesky_solve(chosen(outputs.training_FO), at::linalg_cholesky(penalised_ff));
    const at::Tensor held_out_ff = chosen(held_out_.products_FF).index_select(1, places_f);
    const at::Tensor change_O =
        (weights_fO * (held_out_ff.mm(weights_fO) - 2 * chosen(outputs.held_out_FO))).sum(0);
    return (change_O.view({2, -1}).sum(1) / outputs.held_out_squares_2).sum().item<double>();
  }

  Standardised training_, held_out_;
  double num_tokens_;
  int64_t num_sender_layers_, sender_width_, num_receiver_layers_;
  double lambda_;
};

}  // namespace

std::vector<std::vector<int64_t>> select_layers(const RidgeStatistics& training,
                                                const RidgeStatistics& held_out,
                                                int64_t num_sender_layers, int64_t count,
                                                double lambda) {
  check_reads_all(training, 2 * num_sender_layers);
  check_reads_all(held_out, 2 * num_sender_layers);
  TORCH_CHECK(count >= 1 && count <= num_sender_layers, "select_layers: expected 1 .. ",
              num_sender_layers, " layers, got ", count);
  TORCH_CHECK(lambda > 0, "select_layers: expected a positive lambda, got ", lambda);
  const at::NoGradGuard no_gradients;
  const Selection selection(training, held_out, num_sender_layers, lambda);
  std::vector<std::vector<int64_t>> layers;
  for (int64_t layer = 0; layer < training.shape().num_streams / 2; ++layer) {
    layers.push_back(selection.choose(layer, count));
  }
  return layers;
}

}  // namespace kvalign
