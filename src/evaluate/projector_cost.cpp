// Counts of a projection, by the kind of projector. See cost.h.
//
// Shapes:  G feature groups   F features   R streams   D width of a stream   H hidden units
//          r rank
#include <stdexcept>

#include "kvalign/evaluate/cost.h"

namespace kvalign {
namespace {

// Weights that are multiplied with, and what is only added or scaled by.
struct MapWeights {
  double matrix = 0, vector = 0;
};

// `maps` linear maps with biases.
MapWeights linear(double maps, double inputs, double outputs) {
  return {maps * inputs * outputs, maps * outputs};
}

MapWeights operator+(MapWeights a, MapWeights b) {
  return {a.matrix + b.matrix, a.vector + b.vector};
}

// gamma and beta of a LayerNorm, gamma of an RMSNorm.
MapWeights norm_of(const ProjectorSize& size) {
  const auto outputs = static_cast<double>(size.num_streams * size.width);
  if (size.norm == "layer") return {0, 2 * outputs};
  return {0, size.norm == "rms" ? outputs : 0};
}

// Weights on the sender's device and on the receiver's.
struct SideWeights {
  MapWeights encode = {}, decode = {};
};

SideWeights weights_of(const ProjectorSize& size) {
  const auto groups = static_cast<double>(size.num_groups);
  const auto features = static_cast<double>(size.num_features);
  const auto streams = static_cast<double>(size.num_streams);
  const auto width = static_cast<double>(size.width);
  const auto hidden = static_cast<double>(size.hidden_size);
  const auto rank = static_cast<double>(size.rank);
  if (size.kind == "linear_residual" || size.kind == "bidirectional") {
    return {.decode = linear(streams, features, width) + norm_of(size)};
  }
  if (size.kind == "mlp") {
    return {.decode =
                linear(streams, features, hidden) + linear(streams, hidden, width) + norm_of(size)};
  }
  if (size.kind == "residual_mlp") {
    return {.decode = linear(streams, features, width) + linear(groups, features, hidden) +
                      linear(streams, hidden, width)};
  }
  if (size.kind == "low_rank") {
    return {.encode = linear(1, features, rank), .decode = linear(streams, rank, width)};
  }
  if (size.kind == "autoencoder") {
    return {.decode = linear(1, features, rank) + linear(streams, rank, width)};
  }
  // A fixed matrix without a bias.
  if (size.kind == "random") return {.decode = {streams * features * width, 0}};
  if (size.kind == "truncate" || size.kind == "pad" || size.kind == "interpolate") return {};
  throw std::invalid_argument(
      "projection_work: expected the kind linear_residual, mlp, residual_mlp, low_rank, "
      "bidirectional, autoencoder, random, truncate, pad or interpolate, got '" +
      size.kind + "'");
}

void check(const ProjectorSize& size) {
  const bool needs_hidden = size.kind == "mlp" || size.kind == "residual_mlp";
  const bool needs_rank = size.kind == "low_rank" || size.kind == "autoencoder";
  const bool right = size.num_groups > 0 && size.num_features > 0 && size.num_streams > 0 &&
                     size.width > 0 && size.sender_width > 0 &&
                     (size.hidden_size > 0 || !needs_hidden) && (size.rank > 0 || !needs_rank);
  if (right) return;
  throw std::invalid_argument(
      "projection_work: expected positive sizes, got num_groups " +
      std::to_string(size.num_groups) + ", num_features " + std::to_string(size.num_features) +
      ", num_streams " + std::to_string(size.num_streams) + ", width " +
      std::to_string(size.width) + ", sender_width " + std::to_string(size.sender_width) +
      ", hidden_size " + std::to_string(size.hidden_size) + ", rank " + std::to_string(size.rank) +
      " for the kind " + size.kind);
}

Work work_of(const MapWeights& weights, double tokens, double numbers_a_token, double bytes) {
  const double parameters = weights.matrix + weights.vector;
  return {.flops = 2 * tokens * weights.matrix,
          .parameters = parameters,
          .weight_bytes = parameters * bytes,
          .activation_bytes = tokens * numbers_a_token * bytes};
}

}  // namespace

int64_t num_parameters(const ProjectorSize& size) {
  check(size);
  if (size.kind == "random") return 0;  // nothing that is learned
  const SideWeights weights = weights_of(size);
  const MapWeights both = weights.encode + weights.decode;
  return static_cast<int64_t>(both.matrix + both.vector);
}

ProjectionWork projection_work(const ProjectorSize& size, double tokens, const std::string& dtype) {
  check(size);
  const SideWeights weights = weights_of(size);
  const double bytes = element_bytes(dtype);
  const auto sender = static_cast<double>(size.sender_width);
  const auto outputs = static_cast<double>(size.num_streams * size.width);
  if (size.kind != "low_rank") {
    ProjectionWork work{.decode = work_of(weights.decode, tokens, sender + outputs, bytes)};
    work.decode.step = "projection";
    return work;
  }
  const auto latent = static_cast<double>(size.rank);
  ProjectionWork work{.encode = work_of(weights.encode, tokens, sender + latent, bytes),
                      .decode = work_of(weights.decode, tokens, latent + outputs, bytes)};
  work.encode.step = "encoder";
  work.decode.step = "decoder";
  return work;
}

}  // namespace kvalign
