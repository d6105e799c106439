// Inputs, outputs and metadata around the nodes of a kind. See the header.
//
// Shapes:  T tokens   S sender streams   d their width   G feature groups   F features
//          R receiver streams   D their width   L layers   N kv heads   H head dim
#include "projector_graph.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "kvalign/core/geometry_json.h"
#include "kvalign/core/options_json.h"
#include "kvalign/core/sha256.h"
#include "kvalign/train/checkpoint.h"
#include "onnx_projector.h"

namespace kvalign {
namespace {

constexpr int64_t kFirstOpset = 17;
constexpr int64_t kFirstFp8Opset = 19;

KvProjector projector_of(const std::string& path, const Checkpoint& checkpoint,
                         const OnnxExportOptions& options) {
  const KvProjector& whole = *checkpoint.projector;
  const bool low_rank = whole.options().kind == "low_rank";
  TORCH_CHECK(
      low_rank || (!options.latent && options.rank == 0), path,
      ": expected a low_rank projector for a graph that reads latents or keeps a rank, got ",
      whole.options().kind);
  TORCH_CHECK(options.rank >= 0 && options.rank <= whole.options().rank, path,
              ": expected a rank of 1 to ", whole.options().rank, ", got ", options.rank);
  return options.rank == 0 ? whole : whole.with_rank(options.rank);
}

int64_t opset_of(const std::string& path, const KvProjector& projector,
                 const OnnxExportOptions& options, CodeType code_type) {
  const bool has_fp8 = (options.fp8 && code_type == CodeType::kFloat8) ||
                       (!options.latent && has_fp8_nodes(projector));
  const int64_t first = has_fp8 ? kFirstFp8Opset : kFirstOpset;
  if (options.opset == 0) return first;
  TORCH_CHECK(options.opset >= first, path, ": expected opset ", first, " or later, got ",
              options.opset,
              has_fp8 ? ": the graph has FP8 numbers, which operators before 19 do not know" : "");
  return options.opset;
}

// [T, S, d], or [T, d] of a flat cache and of a latent.
std::vector<int64_t> input_shape(const KvProjector& projector, bool latent) {
  if (latent) return {kOnnxTokens, projector.options().rank};
  const int64_t width = projector.sender().width();
  if (is_flat(projector.sender())) return {kOnnxTokens, width};
  return {kOnnxTokens, projector.plan().num_sender_streams(), width};
}

// The value of every code, in the order of the codes.
at::Tensor code_values() {
  return at::arange(256, at::kByte).view(at::kFloat8_e4m3fn).to(at::kFloat);
}

// codes * scales, both of which become inputs.
std::string dequantised_input(OnnxBuilder& builder, std::vector<int64_t> shape,
                              const std::string& meaning, CodeType code_type) {
  const int64_t num_scales = shape.size() == 3 ? shape[1] : 1;
  const bool is_stacked = shape.size() == 3;
  const bool is_float8 = code_type == CodeType::kFloat8;
  builder.graph().add_input({.name = "codes",
                             .type = is_float8 ? OnnxType::kFloat8E4M3FN : OnnxType::kUint8,
                             .shape = std::move(shape),
                             .meaning = meaning + ", each number divided by its scale, as E4M3FN"});
  builder.graph().add_input(
      {.name = "scales", .shape = {kOnnxTokens, num_scales}, .meaning = "of each token's streams"});
  std::string numbers;
  if (is_float8) {
    const std::string one = builder.constant("codes.scale", at::ones({}));
    numbers = builder.op("DequantizeLinear", {"codes", one});
  } else {
    const std::string indices =
        builder.op("Cast", {"codes"}, {{"to", static_cast<int64_t>(OnnxType::kInt32)}});
    numbers = builder.op("Gather", {builder.constant("codes.values", code_values()), indices});
  }
  const std::string scales = is_stacked ? builder.reshape("scales", {0, 0, 1}) : "scales";
  return builder.op("Mul", {numbers, scales});
}

// The name of what arrives, as numbers.
std::string add_input(OnnxBuilder& builder, const KvProjector& projector,
                      const OnnxExportOptions& options, CodeType code_type) {
  std::vector<int64_t> shape = input_shape(projector, options.latent);
  const std::string meaning = options.latent ? "latents of " + projector.sender().model
                              : is_flat(projector.sender())
                                  ? "cache of " + projector.sender().model
                                  : "content keys of layer 0, 1, .., then values of layer 0, 1, "
                                    ".. of " +
                                        projector.sender().model;
  if (options.fp8) return dequantised_input(builder, std::move(shape), meaning, code_type);
  const std::string name = options.latent ? "latent" : "features";
  builder.graph().add_input({.name = name, .shape = std::move(shape), .meaning = meaning});
  return name;
}

// [T, S, d] -> [T, G, F]: FeaturePlan::gather with the tokens first.
OnnxStreams gather_nodes(OnnxBuilder& builder, const FeaturePlan& plan, std::string value) {
  std::vector<int64_t> streams;
  for (const std::vector<int64_t>& group : plan.group_streams()) {
    streams.insert(streams.end(), group.begin(), group.end());
  }
  std::vector<int64_t> all(static_cast<size_t>(plan.num_sender_streams()));
  std::iota(all.begin(), all.end(), 0);
  if (streams != all) {
    const std::string indices = builder.constant("layer_map", at::tensor(streams, at::kLong));
    value = builder.op("Gather", {value, indices}, {{"axis", int64_t{1}}});
  }
  return {builder.reshape(value, {0, plan.num_groups(), plan.num_features()}), plan.num_groups()};
}

// [T, R, D] to the outputs.
void add_outputs(OnnxBuilder& builder, const KvGeometry& receiver, const OnnxStreams& streams) {
  const std::string of = " of " + receiver.model;
  if (is_flat(receiver)) {
    const std::string cache = builder.reshape(streams.value, {0, receiver.width()}, "cache");
    builder.graph().add_output(
        {.name = cache, .shape = {kOnnxTokens, receiver.width()}, .meaning = "cache" + of});
    return;
  }
  const int64_t layers = receiver.num_layers;
  const std::string lengths = builder.constant("layers", at::tensor({layers, layers}, at::kLong));
  builder.graph().add_node({"Split",
                            {streams.value, lengths},
                            {"key_streams", "value_streams"},
                            {{"axis", int64_t{1}}}});
  for (const auto& [from, name, what] : {std::tuple{"key_streams", "keys", "content keys"},
                                         std::tuple{"value_streams", "values", "values"}}) {
    builder.reshape(from, {0, layers, receiver.num_kv_heads, receiver.head_dim}, name);
    builder.graph().add_output(
        {.name = name,
         .shape = {kOnnxTokens, layers, receiver.num_kv_heads, receiver.head_dim},
         .meaning = what + of});
  }
}

void add_metadata(OnnxGraph& graph, const ProjectorGraph& of, const Checkpoint& checkpoint) {
  ProjectorOptions options = of.projector.options();
  graph.set_metadata("kind", options.kind);
  graph.set_metadata("checkpoint_sha256", of.checkpoint_sha256);
  graph.set_metadata("projector", options_to_json(options).dump());
  graph.set_metadata("sender", to_json(of.projector.sender()).dump());
  graph.set_metadata("receiver", to_json(of.projector.receiver()).dump());
  graph.set_metadata("recipe", checkpoint.recipe);
  graph.set_metadata("dataset_sha256", checkpoint.dataset_sha256);
  graph.set_metadata("num_sinks", std::to_string(checkpoint.num_sinks));
}

}  // namespace

ProjectorGraph make_projector_graph(const std::string& path, const OnnxExportOptions& options,
                                    CodeType code_type) {
  const Checkpoint checkpoint = load_checkpoint(path);
  const KvProjector projector = projector_of(path, checkpoint, options);
  ProjectorGraph result{
      .builder = OnnxBuilder("projector", opset_of(path, projector, options, code_type)),
      .projector = projector,
      .checkpoint_sha256 = sha256_of_file(path)};
  OnnxBuilder& builder = result.builder;
  const std::string input = add_input(builder, projector, options, code_type);
  const OnnxStreams streams =
      options.latent
          ? project_latent_nodes(builder, projector,
                                 {builder.reshape(input, {0, 1, projector.options().rank}), 1})
          : project_nodes(builder, projector, gather_nodes(builder, projector.plan(), input));
  add_outputs(builder, projector.receiver(), streams);
  add_metadata(builder.graph(), result, checkpoint);
  return result;
}

}  // namespace kvalign
