// What export_encoder writes makes the device send the latents of the checkpoint.
#include "kvalign/train/encoder_export.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/files.h"
#include "kvalign/core/packet_tensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

constexpr int64_t kEncodedTokens = 9, kRank = 5;

KvGeometry geometry(int64_t num_layers) {
  return {.model = "layered", .num_layers = num_layers, .num_kv_heads = 2, .head_dim = 6};
}

class EncoderExportTest : public ::testing::Test {
 protected:
  // Saves a checkpoint with statistics, which saving folds into the weights.
  std::string save(ProjectorOptions options) {
    auto projector = std::make_shared<KvProjector>(options, geometry(2), geometry(3));
    const ProjectorShape& shape = projector->projector().shape();
    projector->projector().set_standardisation(
        {.feature_mean_GF = golden_fill({shape.num_groups, shape.num_features}, 1, 4.0),
         .feature_scale_GF = golden_fill({shape.num_groups, shape.num_features}, 2, 0.5) + 1.0,
         .output_mean_RD = golden_fill({shape.num_streams, shape.width}, 3, 2.0),
         .output_scale_RD = golden_fill({shape.num_streams, shape.width}, 4, 0.5) + 1.0});
    const std::string path = folder_.file("checkpoint.safetensors");
    save_checkpoint(path, {.projector = projector, .recipe = "seed: 1\n"});
    return path;
  }
  std::string save_low_rank(const std::string& wire) {
    return save({.kind = "low_rank",
                 .rank = kRank,
                 .latent_wire = wire,
                 .layer_map = {.kind = "all", .features = "both"}});
  }
  std::string write(const EncoderExport& exported) {
    write_file_atomically(folder_.file("encoder.bin"), exported.bytes);
    return folder_.file("encoder.bin");
  }

  TemporaryFolder folder_;
  const at::Tensor streams_ = golden_fill({4, kEncodedTokens, 12}, 5, 3.0);
};

TEST_F(EncoderExportTest, LatentsAreThoseOfTheCheckpoint) {
  const std::string path = save_low_rank("float32");
  const EncoderExport exported = export_encoder(path);
  EXPECT_EQ(exported.header.encoder_id, packet_id(sha256_of_file(path)));
  EXPECT_EQ(exported.header.geometry_id, packet_id(geometry_id(geometry(2))));
  const EncodedPacket packet =
      encode_packet(geometry(2), streams_, {}, {.encoder = write(exported)});
  const DecodedPacket read = decode_packet(packet.bytes);
  EXPECT_EQ(read.header.element, PacketElement::kF32);
  EXPECT_EQ(read.header.encoder_id, exported.header.encoder_id);

  const KvProjector projector = *load_checkpoint(path).projector;
  const auto parameters = projector.projector().named_parameters();
  const at::Tensor features_TF = projector.plan().gather(streams_)[0];
  const at::Tensor expected_TR =
      features_TF.matmul(parameters["encoder.weight"][0].t()) + parameters["encoder.bias"][0];
  // Sums of 48 products in another order.
  EXPECT_TRUE(at::allclose(read.values_TMW.select(1, 0), expected_TR, 1e-5, 1e-5));
}

TEST_F(EncoderExportTest, TheWireIsThatOfTraining) {
  const EncoderExport fp8 = export_encoder(save_low_rank("float8_e4m3fn"));
  EXPECT_EQ(fp8.header.wire_element, PacketElement::kE4M3FN);
  EXPECT_EQ(fp8.header.wire_scale, 1.0f / 16);
  EXPECT_EQ(export_encoder(save_low_rank("float16")).header.wire_element, PacketElement::kF16);
}

TEST_F(EncoderExportTest, ASmallerRankIsTheBeginningOfTheLatent) {
  const std::string path = save_low_rank("float32");
  const auto latents = [&](int64_t rank) {
    const std::string file = write(export_encoder(path, rank));
    return decode_packet(encode_packet(geometry(2), streams_, {}, {.encoder = file}).bytes)
        .values_TMW;
  };
  EXPECT_TRUE(latents(3).equal(latents(0).narrow(2, 0, 3)));
}

TEST_F(EncoderExportTest, MistakesAreNamed) {
  EXPECT_THROWS_WITH(export_encoder(save_low_rank("float32"), 6),
                     "expected a rank of 1 to 5, got 6");
  EXPECT_THROWS_WITH(export_encoder(save({.kind = "linear_residual"})),
                     "expected a low_rank projector, whose encoder runs on the device, got "
                     "linear_residual");
}

}  // namespace
}  // namespace kvalign
