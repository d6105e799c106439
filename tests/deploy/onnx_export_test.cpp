// Every kind of projector as an ONNX model: onnx's own checker accepts it, and onnxruntime makes of
// the same inputs what the library does.
#include "kvalign/deploy/onnx_export.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "kvalign/core/random.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/support/check_onnx.h"
#include "tests/support/flat_geometry.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

class OnnxExportTest : public ::testing::Test {
 protected:
  static constexpr int64_t kTokens = 7;
  static inline const LayerMapOptions kOneGroup = {.kind = "all", .features = "both"};
  static inline const LayerMapOptions kTwoGroups = {.kind = "all"};
  // Not in the sender's order, and some layers more than once.
  static inline const LayerMapOptions kChosen = {.kind = "top_k", .layers = {1, 0, 0, 1, 1, 0}};

  static KvGeometry layered(const std::string& model, int64_t num_layers, int64_t head_dim) {
    return {.model = model,
            .num_layers = num_layers,
            .num_kv_heads = 2,
            .head_dim = head_dim,
            .rope = {},
            .sliding_window_layers = {}};
  }

  static ProjectorOptions low_rank(const std::string& wire) {
    return {.kind = "low_rank", .rank = 5, .latent_wire = wire, .layer_map = kOneGroup};
  }

  // Weights that no kind starts with: norms that scale, biases, the part that starts at 0.
  std::string save(const std::string& name, const ProjectorOptions& options, bool is_flat = false) {
    const auto projector =
        is_flat ? std::make_shared<KvProjector>(options, testing::flat(12), testing::flat(20))
                : std::make_shared<KvProjector>(options, layered("small", 2, 6),
                                                layered("large", 3, 5));
    const at::NoGradGuard no_gradients;
    at::Generator generator = make_generator(7);
    for (at::Tensor& parameter : projector->projector().parameters()) {
      parameter.add_(at::empty_like(parameter).normal_(0.0, 0.3, generator));
    }
    const std::string path = folder_.file(name + ".checkpoint");
    save_checkpoint(path, {.projector = projector,
                           .recipe = "projector: {}\n",
                           .dataset_sha256 = sha256_hex("data"),
                           .split_sha256 = sha256_hex("split")});
    return path;
  }

  // Exports, and puts inputs and expected outputs beside the model.
  OnnxExport add(const std::string& name, const std::string& checkpoint,
                 const OnnxExportOptions& options) {
    const OnnxExport exported = export_onnx(checkpoint, models() + name + ".onnx", options);
    expect(checkpoint, models() + name + ".safetensors", options);
    return exported;
  }

  static void expect(const std::string& checkpoint, const std::string& path,
                     const OnnxExportOptions& options) {
    const at::NoGradGuard no_gradients;
    const Checkpoint loaded = load_checkpoint(checkpoint);
    const KvProjector whole = *loaded.projector;
    const KvProjector projector = options.rank > 0 ? whole.with_rank(options.rank) : whole;
    at::Generator generator = make_generator(8);
    const int64_t num_streams = options.latent ? 1 : projector.plan().num_sender_streams();
    const int64_t width = options.latent ? projector.options().rank : projector.sender().width();
    at::Tensor numbers_STd = at::empty({num_streams, kTokens, width}).normal_(0.0, 1.0, generator);
    const bool is_stacked = !options.latent && !is_flat(projector.sender());
    const auto tokens_first = [&](const at::Tensor& streams) {
      return is_stacked ? streams.transpose(0, 1) : streams[0];
    };
    std::vector<NamedTensor> tensors;
    if (options.fp8) {
      const at::Tensor codes = (numbers_STd * 100).to(at::kFloat8_e4m3fn);
      const at::Tensor scales_ST1 =
          at::empty({num_streams, kTokens, 1}).uniform_(0.001, 0.02, generator);
      numbers_STd = codes.to(at::kFloat) * scales_ST1;
      tensors.push_back({"in.codes", tokens_first(codes.view(at::kByte))});
      tensors.push_back({"in.scales", scales_ST1.squeeze(2).t()});
    } else {
      tensors.push_back({options.latent ? "in.latent" : "in.features", tokens_first(numbers_STd)});
    }
    const at::Tensor streams_RTD = options.latent
                                       ? projector.projector().project_latent(numbers_STd)
                                       : projector.project(numbers_STd);
    const KvGeometry& receiver = projector.receiver();
    if (is_flat(receiver)) {
      tensors.push_back({"out.cache", streams_RTD[0]});
    } else {
      const auto heads = [&](int64_t first) {
        return streams_RTD.narrow(0, first, receiver.num_layers)
            .view({receiver.num_layers, kTokens, receiver.num_kv_heads, receiver.head_dim})
            .transpose(0, 1);
      };
      tensors.push_back({"out.keys", heads(0)});
      tensors.push_back({"out.values", heads(receiver.num_layers)});
    }
    write_safetensors(path, tensors);
  }

  void add_case(const std::string& name, const ProjectorOptions& options,
                const OnnxExportOptions& how = {}) {
    add(name, save(name, options), how);
  }

  void add_flat(const std::string& name, const ProjectorOptions& options,
                const OnnxExportOptions& how = {}) {
    add(name, save(name, options, /*is_flat=*/true), how);
  }

  // Float32 sums of at most 48 products in another order: each is off by at most 48 * 2^-24 = 3e-6
  // of the sum of magnitudes, a few times the largest output.
  void check_models() { EXPECT_EQ(check_onnx(models(), "1e-5"), 0); }

  std::string models() const { return folder_.file("models/"); }

  void SetUp() override { std::filesystem::create_directory(models()); }

  TemporaryFolder folder_;
};

TEST_F(OnnxExportTest, EveryKindMakesWhatTheLibraryMakes) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  for (const std::string norm : {"none", "layer", "rms"}) {
    add_case("linear_groups_" + norm, {.norm = norm});
    add_case("linear_two_groups_" + norm, {.norm = norm, .layer_map = kTwoGroups});
    add_case("linear_one_group_" + norm, {.norm = norm, .layer_map = kOneGroup});
    add_flat("linear_flat_" + norm, {.norm = norm});
    add_flat("mlp_flat_" + norm, {.kind = "mlp", .norm = norm, .hidden_size = 9});
  }
  add_case("linear_top_k", {.layer_map = kChosen});
  add_case("mlp", {.kind = "mlp", .norm = "layer", .hidden_size = 9, .layer_map = kOneGroup});
  add_case("mlp_groups", {.kind = "mlp", .hidden_size = 9});
  add_case("residual_mlp", {.kind = "residual_mlp", .hidden_size = 9, .layer_map = kTwoGroups});
  add_case("bidirectional", {.kind = "bidirectional"});
  add_case("autoencoder", {.kind = "autoencoder", .rank = 5, .layer_map = kOneGroup});
  add_case("truncate", {.kind = "truncate"});
  add_flat("pad", {.kind = "pad"});
  add_case("interpolate", {.kind = "interpolate"});
  add_case("random", {.kind = "random"});
  check_models();
}

TEST_F(OnnxExportTest, ALatentIsMadeOrRead) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  for (const std::string wire : {"float32", "float16", "float8_e4m3fn"}) {
    add_case("low_rank_" + wire, low_rank(wire));
    add_case("rank_3_" + wire, low_rank(wire), {.rank = 3});
  }
  add_case("latent", low_rank("float32"), {.latent = true});
  add_case("latent_rank_3", low_rank("float32"), {.latent = true, .rank = 3});
  add_case("latent_fp8", low_rank("float8_e4m3fn"), {.fp8 = true, .latent = true});
  check_models();
}

TEST_F(OnnxExportTest, Fp8CodesAndEveryOpset) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const std::string checkpoint = save("linear", {.norm = "layer", .layer_map = kTwoGroups});
  const std::string flat = save("flat", {.kind = "mlp", .hidden_size = 9}, /*is_flat=*/true);
  const std::string latents = save("low_rank", low_rank("float8_e4m3fn"));
  for (int64_t opset = 17; opset <= 23; ++opset) {
    const std::string suffix = "_" + std::to_string(opset);
    EXPECT_EQ(add("linear" + suffix, checkpoint, {.opset = opset}).opset, opset);
    add("flat" + suffix, flat, {.opset = opset});
    if (opset < 19) continue;
    add("linear_fp8" + suffix, checkpoint, {.opset = opset, .fp8 = true});
    add("flat_fp8" + suffix, flat, {.opset = opset, .fp8 = true});
    add("low_rank" + suffix, latents, {.opset = opset});
  }
  check_models();
}

TEST_F(OnnxExportTest, TheFirstOpsetThatSufficesIsTaken) {
  const std::string linear = save("linear", {});
  const std::string latents = save("low_rank", low_rank("float8_e4m3fn"));
  const auto opset = [&](const std::string& checkpoint, const OnnxExportOptions& options) {
    return export_onnx(checkpoint, models() + "model.onnx", options).opset;
  };
  EXPECT_EQ(opset(linear, {}), 17);
  EXPECT_EQ(opset(linear, {.fp8 = true}), 19);
  EXPECT_EQ(opset(latents, {}), 19);
  EXPECT_EQ(opset(latents, {.latent = true}), 17);
}

TEST_F(OnnxExportTest, LargeWeightsAreBesideTheModel) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const ProjectorOptions options = {.kind = "mlp", .norm = "none", .hidden_size = 600'000};
  const std::string checkpoint = save("large", options, /*is_flat=*/true);
  const OnnxExport exported = add("large", checkpoint, {});
  // 600,000 x (12 + 1 + 20) floats.
  EXPECT_GT(exported.sizes.data_bytes, 79'000'000);
  EXPECT_LT(exported.sizes.model_bytes, 10'000);
  EXPECT_EQ(std::filesystem::file_size(exported.model + "." +
                                       sha256_of_file(checkpoint).substr(0, 12) + ".data"),
            static_cast<size_t>(exported.sizes.data_bytes));
  // Sums of 600,000 products: at most 600,000 * 2^-24 of the sum of magnitudes, far less in
  // practice.
  EXPECT_EQ(check_onnx(models(), "1e-3"), 0);
}

TEST_F(OnnxExportTest, SaysWhatGoesInAndWhereItComesFrom) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const std::string checkpoint = save("linear", {});
  const OnnxExport exported = add("linear", checkpoint, {.fp8 = true});
  ASSERT_EQ(exported.inputs.size(), 2u);
  EXPECT_EQ(exported.inputs[0].name, "codes");
  EXPECT_EQ(exported.inputs[0].shape, (std::vector<int64_t>{kOnnxTokens, 4, 12}));
  EXPECT_EQ(exported.inputs[1].shape, (std::vector<int64_t>{kOnnxTokens, 4}));
  EXPECT_EQ(exported.outputs[1].name, "values");
  EXPECT_EQ(exported.outputs[1].shape, (std::vector<int64_t>{kOnnxTokens, 3, 2, 5}));
  EXPECT_EQ(exported.sizes.data_bytes, 0);
  EXPECT_EQ(run_python(R"(
import json, onnx, sys
model = onnx.load(sys.argv[1])
props = {p.key: p.value for p in model.metadata_props}
assert props["kind"] == "linear_residual", props
assert props["checkpoint_sha256"] == sys.argv[2], props
assert json.loads(props["receiver"])["num_layers"] == 3, props
assert props["recipe"] == "projector: {}\n", props
assert model.producer_name == "kvalign"
assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["tokens", 4, 12]
assert "content keys of layer 0" in model.graph.input[0].doc_string
)",
                       exported.model + " " + sha256_of_file(checkpoint)),
            0);
}

TEST_F(OnnxExportTest, RefusesWhatACheckpointCannotHave) {
  const std::string linear = save("linear", {});
  const std::string latents = save("low_rank", low_rank("float8_e4m3fn"));
  const std::string output = models() + "model.onnx";
  EXPECT_THROWS_WITH(export_onnx(linear, output, {.latent = true}),
                     "expected a low_rank projector for a graph that reads latents");
  EXPECT_THROWS_WITH(export_onnx(linear, output, {.rank = 3}), "got linear_residual");
  EXPECT_THROWS_WITH(export_onnx(latents, output, {.rank = 6}), "expected a rank of 1 to 5, got 6");
  EXPECT_THROWS_WITH(export_onnx(latents, output, {.opset = 18}),
                     "expected opset 19 or later, got 18: the graph has FP8 numbers");
  EXPECT_THROWS_WITH(export_onnx(linear, output, {.opset = 16}),
                     "expected opset 17 or later, got 16");
  EXPECT_THROWS_WITH(export_onnx(linear, output, {.opset = 24}), "to 23, got 24");
  EXPECT_THROWS_WITH(export_onnx(linear, folder_.file("none/model.onnx"), {}),
                     "Does its folder exist?");
  EXPECT_TRUE(std::filesystem::is_empty(models()));
}

TEST_F(OnnxExportTest, TritonTakesCodesAsBytesAndGetsVersions) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const std::string checkpoint = save("linear", {.layer_map = kTwoGroups});
  const std::string model = models() + "small_to_large";
  const TritonExport first = export_triton(checkpoint, model, {.fp8 = true});
  EXPECT_EQ(first.version, 1);
  EXPECT_EQ(first.onnx.model, model + "/1/model.onnx");
  EXPECT_EQ(first.onnx.opset, 17);
  EXPECT_EQ(first.onnx.inputs[0].type, OnnxType::kUint8);
  expect(checkpoint, model + "/1/model.safetensors", {.fp8 = true});
  check_models();
  // A folder with a slash at its end is the same.
  EXPECT_EQ(export_triton(checkpoint, model + "/", {}).onnx.model, model + "/2/model.onnx");
  EXPECT_TRUE(std::filesystem::exists(first.onnx.model));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(model), {}), 3);
  EXPECT_THROWS_WITH(export_triton(checkpoint, models() + "a b", {}), "got 'a b'");
  EXPECT_FALSE(std::filesystem::exists(models() + "a b"));
}

}  // namespace
}  // namespace kvalign
