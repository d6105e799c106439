// From a packet to a continuation, against the same steps by hand.
#include "kvalign/deploy/packet_receiver.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/files.h"
#include "kvalign/core/sha256.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/encoder_export.h"
#include "tests/support/decoder_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

class PacketReceiverTest : public ::testing::Test {
 protected:
  std::string save(const std::string& name, const ProjectorOptions& options) {
    const std::string path = folder_.file(name);
    const auto projector =
        std::make_shared<KvProjector>(options, sender_.geometry(), receiver_.geometry());
    save_checkpoint(path, {.projector = projector,
                           .recipe = "{}",
                           .dataset_sha256 = sha256_hex("data"),
                           .split_sha256 = sha256_hex("split"),
                           .num_sinks = 2,
                           .skip_first_tokens = 2});
    return path;
  }

  std::string save_low_rank(const std::string& name, int64_t rank) {
    return save(name, {.kind = "low_rank",
                       .rank = rank,
                       .latent_wire = "float32",
                       .layer_map = {.kind = "all", .features = "both"}});
  }

  std::string export_to(const std::string& name, const std::string& checkpoint) {
    write_file_atomically(folder_.file(name), export_encoder(checkpoint).bytes);
    return folder_.file(name);
  }

  static at::Tensor streams(const Decoder& decoder, const at::Tensor& ids_T) {
    return decoder.forward({.token_ids_BT = ids_T.unsqueeze(0), .num_logits = 0}).cache->streams();
  }

  // 12 tokens: 2 sinks, 8 coded ones, 2 re-read ones.
  DecodedPacket packet(PacketOptions options = {.element = "f32"}) const {
    options.num_sinks = 2;
    if (options.num_reread == 0) options.num_reread = 2;
    return decode_packet(
        encode_packet(sender_.geometry(), streams(sender_, ids_T_), ids_T_.to(at::kInt), options)
            .bytes);
  }

  // The receiver after its own 2 sinks and 8 projected tokens.
  std::vector<int64_t> by_hand(const std::string& checkpoint) const {
    const at::NoGradGuard no_gradients;
    const at::Tensor projected_RTD =
        load_checkpoint(checkpoint).projector->project(streams(sender_, ids_T_));
    const KvCache cache = KvCache::from_streams(
        receiver_.geometry(),
        at::cat({streams(receiver_, ids_T_.narrow(0, 0, 2)), projected_RTD.narrow(1, 2, 8)}, 1));
    return generate_greedily(receiver_, cache, ids_T_.narrow(0, 10, 2), 6);
  }

  TemporaryFolder folder_;
  const Decoder sender_ = Decoder::load(golden_decoder("llama"));
  const Decoder receiver_ = Decoder::load(golden_decoder("qwen3"));
  const at::Tensor ids_T_ = at::tensor({3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 32, 38}, at::kLong);
};

TEST_F(PacketReceiverTest, ContinuesFromACache) {
  const std::string path = save("linear.safetensors", {});
  const PacketReceiver receiver(path, golden_decoder("qwen3"));
  EXPECT_EQ(receiver.continue_greedily(packet(), 6), by_hand(path));
  EXPECT_EQ(receiver.cache_of(packet()).num_tokens(), 10);
}

TEST_F(PacketReceiverTest, ContinuesFromALatent) {
  const std::string path = save_low_rank("low_rank.safetensors", 6);
  const std::string encoder = export_to("encoder.kve", path);
  const PacketReceiver receiver(path, golden_decoder("qwen3"));
  EXPECT_EQ(receiver.continue_greedily(packet({.encoder = encoder}), 6), by_hand(path));
  // The same geometry, another encoder.
  const std::string other = save_low_rank("other.safetensors", 7);
  EXPECT_THROWS_WITH(receiver.cache_of(packet({.encoder = export_to("other.kve", other)})),
                     "got another encoder_id");
}

TEST_F(PacketReceiverTest, RefusesPacketsOfOtherModelsAndPlaces) {
  const std::string path = save("linear.safetensors", {});
  const PacketReceiver receiver(path, golden_decoder("qwen3"));
  DecodedPacket other = packet();
  other.header.geometry_id[31] ^= 1;
  EXPECT_THROWS_WITH(receiver.cache_of(other),
                     "expected the geometry_id of the checkpoint's sender");
  EXPECT_THROWS_WITH(receiver.cache_of(packet({.element = "f32", .position_offset = 4})),
                     "got position_offset 4");
  DecodedPacket flat = packet();
  flat.header.content = PacketContent::kFlatCache;
  EXPECT_THROWS_WITH(receiver.cache_of(flat), "got a flat cache");
  DecodedPacket without_last = packet();
  without_last.reread_token_ids.clear();
  EXPECT_THROWS_WITH(receiver.continue_greedily(without_last, 1),
                     "at least the last token of the prefix");
  EXPECT_THROWS_WITH(PacketReceiver(path, golden_decoder("llama")), "is not the receiver of");
}

}  // namespace
}  // namespace kvalign
