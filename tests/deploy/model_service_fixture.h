// Checkpoints that nobody trained, requests for them, and answers as tensors.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "kvalign/core/packet_tensors.h"
#include "kvalign/core/random.h"
#include "kvalign/core/sha256.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/deploy/model_service.h"
#include "kvalign/model/decoder.h"
#include "kvalign/projector/frozen_projector.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/support/flat_geometry.h"

namespace kvalign::testing {

inline const std::string kDemoSender = KVALIGN_SOURCE_DIR "/demo/sender";
inline const std::string kDemoReceiver = KVALIGN_SOURCE_DIR "/demo/receiver";

inline at::Tensor random_rows(std::vector<int64_t> shape, int64_t seed = 7) {
  at::Generator generator = make_generator(static_cast<uint64_t>(seed));
  return at::randn(shape, generator);
}

inline ServedTensor served_input(const std::string& name, const std::string& datatype,
                                 const at::Tensor& values) {
  const at::Tensor plain = values.contiguous();
  return {.name = name,
          .datatype = datatype,
          .shape = plain.sizes().vec(),
          .data = std::string(static_cast<const char*>(plain.const_data_ptr()), plain.nbytes())};
}

inline ServedTensor served_packet(const std::string& packet) {
  return {.name = "packet",
          .datatype = "UINT8",
          .shape = {static_cast<int64_t>(packet.size())},
          .data = packet};
}

inline at::Tensor tensor_of(const ServedTensor& output) {
  return at::from_blob(const_cast<char*>(output.data.data()), output.shape, at::kFloat).clone();
}

/// What a call of the service refuses with.
template <class Call>
ServeRefusal refusal_of(Call&& call) {
  try {
    call();
  } catch (const ServeRefusal& refusal) {
    return refusal;
  }
  ADD_FAILURE() << "was not refused";
  return {0, "", ""};
}

class ModelServiceFixture : public ::testing::Test {
 protected:
  std::string save(const std::string& name, const KvGeometry& sender, const KvGeometry& receiver,
                   const ProjectorOptions& options = {},
                   const std::string& dataset_sha256 = sha256_hex("data")) const {
    const std::string path = folder_.file(name + ".safetensors");
    save_checkpoint(path, {.projector = std::make_shared<KvProjector>(options, sender, receiver),
                           .recipe = "{}",
                           .dataset_sha256 = dataset_sha256,
                           .split_sha256 = sha256_hex("split")});
    return path;
  }
  std::string save_flat(const std::string& name = "flat", int64_t seed = 1) const {
    return save(name, flat(16), flat(24), {.seed = seed, .layer_map = {}});
  }
  std::string save_pair(const std::string& name = "pair") const {
    return save(name, sender().geometry(), receiver().geometry());
  }

  static const Decoder& sender() {
    static const Decoder decoder = Decoder::load(kDemoSender);
    return decoder;
  }
  static const Decoder& receiver() {
    static const Decoder decoder = Decoder::load(kDemoReceiver);
    return decoder;
  }

  /// 12 tokens of the demo pair's tokeniser.
  static at::Tensor ids_T() {
    return at::tensor({30, 141, 159, 92, 265, 35, 89, 79, 323, 84, 62, 64}, at::kLong);
  }
  static at::Tensor sender_streams() {
    const at::NoGradGuard no_gradients;
    return sender()
        .forward({.token_ids_BT = ids_T().unsqueeze(0), .num_logits = 0})
        .cache->streams();
  }
  /// 2 sinks, 8 coded tokens, 2 re-read ones.
  static std::string pair_packet(PacketOptions options = {}) {
    options.num_sinks = 2;
    options.num_reread = 2;
    return encode_packet(sender().geometry(), sender_streams(), ids_T().to(at::kInt), options)
        .bytes;
  }

  /// [R, T, D] without gradients.
  static at::Tensor projected(const std::string& checkpoint, const at::Tensor& sender_STd) {
    const at::NoGradGuard no_gradients;
    return FrozenProjector(*load_checkpoint(checkpoint).projector).project(sender_STd);
  }

  const TemporaryFolder folder_;
};

}  // namespace kvalign::testing
