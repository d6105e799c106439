// What a packet alone proves, against the floats that the test still has.
#include "kvalign/deploy/packet_certificate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kvalign/core/files.h"
#include "kvalign/core/packet_tensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/encoder_export.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

constexpr int64_t kTokens = 9;

KvGeometry geometry(const std::string& model, int64_t num_layers, int64_t head_dim) {
  return {.model = model,
          .num_layers = num_layers,
          .num_kv_heads = 2,
          .head_dim = head_dim,
          .rope = RopeOptions{.rotary_dim = head_dim}};
}

class PacketCertificateTest : public ::testing::Test {
 protected:
  std::string save(const std::string& name, const ProjectorOptions& options) {
    const std::string path = folder_.file(name);
    save_checkpoint(path, {.projector = std::make_shared<KvProjector>(options, sender_, receiver_),
                           .recipe = "{}",
                           .dataset_sha256 = sha256_hex("data"),
                           .split_sha256 = sha256_hex("split")});
    return path;
  }

  std::string packet(const PacketOptions& options) const {
    return encode_packet(sender_, streams_STd_, {}, options).bytes;
  }

  TemporaryFolder folder_;
  KvGeometry sender_ = geometry("sender", 2, 6), receiver_ = geometry("receiver", 3, 8);
  at::Tensor streams_STd_ = golden_fill({4, kTokens, 12}, 1, 3.0);
};

TEST_F(PacketCertificateTest, BoundsTheErrorOfEachToken) {
  for (const char* element : {"e4m3fn", "e5m2"}) {
    for (const char* scales : {"token", "block32"}) {
      SCOPED_TRACE(std::string(element) + "/" + scales);
      const std::string bytes = packet({.element = element, .scales = scales});
      const PacketCertificate certificate = certify_packet(bytes);
      const at::Tensor arrived_STd = decode_packet(bytes).values_TMW.transpose(0, 1);
      const at::Tensor relative_T =
          at::linalg_vector_norm((arrived_STd - streams_STd_).to(at::kDouble), 2, {0, 2}) /
          at::linalg_vector_norm(arrived_STd.to(at::kDouble), 2, {0, 2});
      EXPECT_EQ(certificate.tokens, kTokens);
      EXPECT_EQ(certificate.uncertified, 0);
      EXPECT_GE(certificate.relative.max, relative_T.max().item<double>());
      EXPECT_LT(certificate.relative.max, 3 * relative_T.max().item<double>());
      EXPECT_TRUE(certificate.streams.empty());
    }
  }
}

TEST_F(PacketCertificateTest, CountsWhatStaticScalesLeaveOpen) {
  const PacketCertificate certificate =
      certify_packet(packet({.element = "e4m3fn", .scales = "tensor"}));
  EXPECT_EQ(certificate.wire, "float8_e4m3fn/tensor");
  EXPECT_GE(certificate.uncertified, 4);  // the amax of each stream
  EXPECT_GE(certificate.uncertified_tokens, 1);
  EXPECT_TRUE(std::isinf(certificate.relative.max));
  EXPECT_THAT(to_text(certificate), ::testing::HasSubstr("may be saturated"));
  EXPECT_TRUE(to_json(certificate)["certified_relative"]["max"].is_null());
}

TEST_F(PacketCertificateTest, BoundsWhatACheckpointMakesOfACache) {
  const std::string path = save("linear.safetensors", {});
  const std::string bytes = packet({.element = "e4m3fn", .scales = "token"});
  const PacketCertificate certificate = certify_packet(bytes, path);
  const at::NoGradGuard no_gradients;
  const KvProjector projector = *load_checkpoint(path).projector;
  const at::Tensor arrived_STd = decode_packet(bytes).values_TMW.transpose(0, 1).contiguous();
  const at::Tensor move_RT = at::linalg_vector_norm(
      projector.project(arrived_STd) - projector.project(streams_STd_), 2, {2});
  ASSERT_EQ(certificate.streams.size(), 6);
  EXPECT_EQ(certificate.streams[0].stream, "keys.0");
  EXPECT_EQ(certificate.streams[5].stream, "values.2");
  for (int64_t stream = 0; stream < 6; ++stream) {
    const double largest = move_RT[stream].max().item<double>();
    const PacketStreamCertificate& certified = certificate.streams[static_cast<size_t>(stream)];
    EXPECT_GE(certified.certified.max, largest);
    EXPECT_LT(certified.certified.max, 20 * largest);
  }
}

TEST_F(PacketCertificateTest, BoundsWhatACheckpointMakesOfALatent) {
  const std::string path =
      save("low_rank.safetensors",
           {.kind = "low_rank", .rank = 5, .layer_map = {.kind = "all", .features = "both"}});
  const std::string encoder = folder_.file("encoder.kve");
  write_file_atomically(encoder, export_encoder(path).bytes);
  const std::string bytes = packet({.encoder = encoder});
  const PacketCertificate certificate = certify_packet(bytes, path);
  EXPECT_TRUE(certificate.latent);
  ASSERT_EQ(certificate.streams.size(), 6);
  EXPECT_GT(certificate.streams[0].certified.p50, 0);
  EXPECT_THROWS_WITH(
      certify_packet(bytes,
                     save("other.safetensors", {.kind = "low_rank",
                                                .rank = 5,
                                                .seed = 2,
                                                .layer_map = {.kind = "all", .features = "both"}})),
      "got another encoder_id");
}

TEST_F(PacketCertificateTest, RefusesWhatItCannotSpeakOf) {
  EXPECT_THROWS_WITH(certify_packet(packet({.element = "f16"})),
                     "expected a packet in FP8, got one whose numbers are not");
  EXPECT_THROWS_WITH(certify_packet("KV"), "packet_codes: expected a header");
  const PacketOptions all_as_ids{.element = "e4m3fn", .num_sinks = 4, .num_reread = 5};
  EXPECT_THROWS_WITH(
      certify_packet(
          encode_packet(sender_, streams_STd_, at::arange(kTokens, at::kInt), all_as_ids).bytes),
      "of which there is nothing to certify");
  const std::string bytes = packet({.element = "e4m3fn", .scales = "token"});
  sender_.model = "another";
  EXPECT_THROWS_WITH(certify_packet(bytes, save("linear.safetensors", {})),
                     "expected the geometry_id of the checkpoint's sender");
  sender_.model = "sender";
  EXPECT_THROWS_WITH(
      certify_packet(
          bytes,
          save("latent.safetensors",
               {.kind = "low_rank", .rank = 5, .layer_map = {.kind = "all", .features = "both"}})),
      "expected a checkpoint that reads caches");
}

}  // namespace
}  // namespace kvalign
