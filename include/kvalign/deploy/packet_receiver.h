// Where a packet ends: the receiver continues from it. What the packet holds is projected, the
// sinks and the re-read tokens are computed from their ids.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kvalign/core/kv_cache.h"
#include "kvalign/core/packet_tensors.h"
#include "kvalign/format/export.h"
#include "kvalign/model/decoder.h"

namespace kvalign {

class FrozenProjector;

class KVALIGN_API PacketReceiver {
 public:
  /// `checkpoint`: path of what the sender's latents were made with, or of a projector that reads
  /// caches; `receiver`: Hugging Face folder. Both models must have one tokeniser, since packets
  /// carry the ids of it. Throws std::runtime_error as load_checkpoint and Decoder::load, and where
  /// the folder's cache is not the one that the checkpoint projects to.
  PacketReceiver(const std::string& checkpoint, const std::string& receiver,
                 c10::Device device = c10::kCPU);
  /// The same of what is loaded already; `projector` is on the receiver's device.
  /// `checkpoint_id`: SHA-256 of its file. Throws std::runtime_error where the caches differ.
  PacketReceiver(std::shared_ptr<const FrozenProjector> projector, const PacketId& checkpoint_id,
                 Decoder receiver);
  ~PacketReceiver();
  PacketReceiver(PacketReceiver&&) noexcept;

  /// The receiver's cache of all tokens but the re-read ones. Throws std::runtime_error for a
  /// packet of another sender or another encoder, one that begins in the middle of a text, and a
  /// latent of more numbers than the checkpoint's.
  KvCache cache_of(const DecodedPacket& packet) const;

  /// The receiver's own cache of its first tokens, then `coded_RTD`, projected streams of those
  /// after them.
  KvCache with_sinks(const std::vector<int32_t>& sink_token_ids, const at::Tensor& coded_RTD) const;

  /// Throws as cache_of for a packet that it does not take.
  void check_sender(const DecodedPacket& packet) const;

  /// Consumes the re-read tokens after that cache and returns up to `num_tokens` most probable
  /// ones. Throws also for a packet without a re-read token: the last of a prefix has to be
  /// consumed.
  std::vector<int64_t> continue_greedily(const DecodedPacket& packet, int64_t num_tokens) const;

  const Decoder& decoder() const { return receiver_; }

 private:
  std::shared_ptr<const FrozenProjector> projector_;
  PacketId checkpoint_id_;
  Decoder receiver_;
};

}  // namespace kvalign
