// The generator of paired caches; generator.h has its formulas.
//
// Shapes: T tokens of a sequence, K shared factors, P private factors, W hidden width (2K), d width
#include "kvalign/dataset/generator.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/options_json.h"
#include "kvalign/core/random.h"
#include "kvalign/dataset/paired_writer.h"

namespace kvalign {
namespace {

constexpr double kCarry = 0.9;           // of a factor from token to token
constexpr double kNoise = 0.1;           // times Student t, whose variance is 2
constexpr double kHiddenVariance = 0.5;  // of B z and D z
constexpr double kTanhDeviation = 0.52;  // of tanh(sqrt(0.5) n), n normal
constexpr double kGeluDeviation = 0.43;  // of gelu(sqrt(0.5) n), n normal
constexpr double kPrivateDeviation = 0.5;
constexpr double kMagnitudeSpread = 0.15, kChannelSpread = 0.2;
constexpr double kOutlierScale = 4;
constexpr int64_t kOutlierEvery = 256;  // channels; at least one a stream
constexpr int64_t kNumSinks = 4;
constexpr double kSinkKeyScale = 3, kSinkValueScale = 0.1;
constexpr int64_t kVocabulary = 32000;  // token ids are drawn from it; no cache depends on them

at::Tensor normal(Random& random, int64_t rows, int64_t columns, double deviation) {
  at::Tensor tensor = at::empty({rows, columns}, at::kFloat);
  float* values = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < rows * columns; ++i) {
    values[i] = static_cast<float>(deviation * random.normal());
  }
  return tensor;
}

/// Adds kNoise times Student t with 4 degrees of freedom to every element, by Bailey's polar method
/// (Mathematics of Computation 62, 1994): t = u sqrt(n (w^(-2/n) - 1) / w), (u, v) uniform in the
/// unit disc, w = u^2 + v^2, n = 4.
void add_noise(at::Tensor& tensor, Random& random) {
  float* values = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    double u, w;
    do {
      u = 2 * random.uniform() - 1;
      const double v = 2 * random.uniform() - 1;
      w = u * u + v * v;
    } while (w >= 1 || w == 0);
    values[i] += static_cast<float>(kNoise * u * std::sqrt(4 * (1 / std::sqrt(w) - 1) / w));
  }
}

/// Factors of one sequence: a document's own mean, and an AR(1) walk around it.
at::Tensor walk(Random& random, const at::Tensor& mean_K, int64_t num_tokens) {
  const int64_t size = mean_K.size(0);
  at::Tensor factors_TK = normal(random, num_tokens, size, 1.0);
  float* values = factors_TK.mutable_data_ptr<float>();
  const auto carry = static_cast<float>(kCarry);
  const float innovation = std::sqrt(1 - carry * carry);
  for (int64_t i = size; i < num_tokens * size; ++i) {
    values[i] = carry * values[i - size] + innovation * values[i];
  }
  return (factors_TK + mean_K) / std::sqrt(2.0);
}

/// What turns factors into one stream. A sender's has no private factors, scale or offset.
struct StreamMap {
  at::Tensor hidden_KW, output_Wd, private_Pd, scale_d, offset_d;
};

StreamMap sender_map(Random& random, int64_t num_factors, int64_t width) {
  const auto factors = static_cast<double>(num_factors);
  StreamMap map;
  map.hidden_KW =
      normal(random, num_factors, 2 * num_factors, std::sqrt(kHiddenVariance / factors));
  map.output_Wd =
      normal(random, 2 * num_factors, width, 1 / std::sqrt(2 * factors) / kTanhDeviation);
  return map;
}

StreamMap receiver_map(Random& random, int64_t num_factors, int64_t num_private, int64_t width) {
  StreamMap map = sender_map(random, num_factors, width);
  map.output_Wd *= kTanhDeviation / kGeluDeviation;
  map.private_Pd = normal(random, num_private, width,
                          kPrivateDeviation / std::sqrt(static_cast<double>(num_private)));
  map.scale_d = normal(random, 1, width, kChannelSpread).exp();
  for (int64_t i = 0; i < std::max<int64_t>(1, width / kOutlierEvery); ++i) {
    map.scale_d[0][random.below(width)] *= kOutlierScale;
  }
  map.offset_d = normal(random, 1, width, 1.0);
  return map;
}

class Generator {
 public:
  explicit Generator(const GeneratorOptions& options)
      : options_(options), is_flat_(options.layout == "flat") {
    Random random(derive_seed(static_cast<uint64_t>(options.seed), 0));
    const int64_t classes = std::max<int64_t>(1, options.num_classes);
    const auto directions = [&](int64_t size) {
      const at::Tensor drawn = normal(random, classes, size, 1.0);
      return drawn / drawn.norm(2, 1, true) * (options.separation / std::sqrt(2.0));
    };
    shared_centres_ = directions(options.shared_factors);
    private_centres_ = directions(options.private_factors);
    for (int64_t i = 0; i < num_streams(options.sender); ++i) {
      sender_maps_.push_back(sender_map(random, options.shared_factors, width(options.sender)));
    }
    for (int64_t i = 0; i < num_streams(options.receiver); ++i) {
      receiver_maps_.push_back(receiver_map(random, options.shared_factors, options.private_factors,
                                            width(options.receiver)));
    }
  }

  PairedSequence sequence(int64_t number) const {
    const int64_t document = number / options_.sequences_per_document;
    Random of_document = stream_of(1, document), of_sequence = stream_of(2, number);
    const int64_t label = of_document.below(std::max<int64_t>(1, options_.num_classes));
    const at::Tensor shared_mean =
        shared_centres_[label] + normal(of_document, 1, options_.shared_factors, 1.0)[0];
    const at::Tensor private_mean =
        private_centres_[label] + normal(of_document, 1, options_.private_factors, 1.0)[0];
    const int64_t num_tokens = options_.tokens_per_sequence;
    const at::Tensor shared_TK = walk(of_sequence, shared_mean, num_tokens);
    const at::Tensor private_TP = walk(of_sequence, private_mean, num_tokens);
    const at::Tensor magnitude_T1 = normal(of_sequence, num_tokens, 1, kMagnitudeSpread).exp();

    PairedSequence result;
    std::vector<at::Tensor> sender, receiver;
    for (const StreamMap& map : sender_maps_) {
      at::Tensor cache_Td = shared_TK.mm(map.hidden_KW).tanh().mm(map.output_Wd);
      add_noise(cache_Td, of_sequence);
      sender.push_back(cache_Td);
    }
    for (const StreamMap& map : receiver_maps_) {
      at::Tensor cache_TD = at::gelu(shared_TK.mm(map.hidden_KW)).mm(map.output_Wd);
      cache_TD.addmm_(private_TP, map.private_Pd);
      add_noise(cache_TD, of_sequence);
      const bool is_key = !is_flat_ && receiver.size() < receiver_maps_.size() / 2;
      if (is_key) cache_TD += map.offset_d;
      receiver.push_back(cache_TD.mul_(map.scale_d).mul_(magnitude_T1));
    }
    result.sender_SUd = at::stack(sender);
    result.receiver_RTD = at::stack(receiver);
    result.document = document;
    if (options_.num_classes > 0) result.label = label;
    if (!is_flat_) {
      make_sinks(result.sender_SUd);
      make_sinks(result.receiver_RTD);
      result.token_ids = at::empty({num_tokens}, at::kInt);
      for (int64_t t = 0; t < num_tokens; ++t) {
        result.token_ids[t] = of_sequence.below(kVocabulary);
      }
    }
    return result;
  }

 private:
  int64_t num_streams(const GeneratedGeometry& side) const {
    return is_flat_ ? 1 : 2 * side.num_layers;
  }
  static int64_t width(const GeneratedGeometry& side) { return side.num_kv_heads * side.head_dim; }

  Random stream_of(uint64_t purpose, int64_t number) const {
    return Random(derive_seed(derive_seed(static_cast<uint64_t>(options_.seed), purpose),
                              static_cast<uint64_t>(number)));
  }

  static void make_sinks(at::Tensor& streams_STd) {
    const int64_t num_layers = streams_STd.size(0) / 2;
    at::Tensor sinks = streams_STd.narrow(1, 0, std::min(kNumSinks, streams_STd.size(1)));
    sinks.narrow(0, 0, num_layers).mul_(kSinkKeyScale);
    sinks.narrow(0, num_layers, num_layers).mul_(kSinkValueScale);
  }

  const GeneratorOptions& options_;
  const bool is_flat_;
  at::Tensor shared_centres_, private_centres_;
  std::vector<StreamMap> sender_maps_, receiver_maps_;
};

DatasetSide make_side(const GeneratorOptions& options, const GeneratedGeometry& generated,
                      const std::string& name) {
  const bool flat = options.layout == "flat";
  if (flat && (generated.num_layers != 1 || generated.num_kv_heads != 1)) {
    throw std::invalid_argument(
        "generate: " + name + ": a flat cache has 1 layer and 1 kv head, got " +
        std::to_string(generated.num_layers) + " and " + std::to_string(generated.num_kv_heads) +
        ". Give its width as head_dim, or set layout to layers.");
  }
  DatasetSide side;
  side.geometry.model = "generated " + name;
  side.geometry.num_layers = generated.num_layers;
  side.geometry.num_kv_heads = generated.num_kv_heads;
  side.geometry.head_dim = generated.head_dim;
  if (!flat) side.geometry.rope = RopeOptions{.theta = 10000, .rotary_dim = generated.head_dim};
  side.revision = "seed " + std::to_string(options.seed);
  return side;
}

}  // namespace

DatasetIndex generate_paired_dataset(const GeneratorOptions& options,
                                     const std::filesystem::path& folder,
                                     const std::function<void(int64_t, int64_t)>& on_sequence) {
  validate_options(options);
  DatasetIndex header;
  header.layout = options.layout == "flat" ? DatasetLayout::kFlat : DatasetLayout::kLayers;
  header.created_by = "kvalign dataset generate";
  header.sender = make_side(options, options.sender, "sender");
  header.receiver = make_side(options, options.receiver, "receiver");
  header.num_sinks = header.layout == DatasetLayout::kFlat ? 0 : kNumSinks;
  header.source = nlohmann::json{{"generator", options_to_json(options)}}.dump();

  const at::ScalarType dtype = options.dtype == "float16"    ? at::kHalf
                               : options.dtype == "bfloat16" ? at::kBFloat16
                                                             : at::kFloat;
  PairedDatasetWriter writer(folder, header,
                             {.num_sequences = options.num_sequences,
                              .sequences_per_shard = options.sequences_per_shard,
                              .dtype = dtype});
  const Generator generator(options);
  for (int64_t i = 0; i < options.num_sequences; ++i) {
    writer.add(generator.sequence(i));
    if (on_sequence) on_sequence(i + 1, options.num_sequences);
  }
  return writer.finish();
}

}  // namespace kvalign
