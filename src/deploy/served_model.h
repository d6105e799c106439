// One version of one model, loaded and never changed: what a request holds on to from its first
// byte to its last. Private to deploy/.
//
// Shapes:  T tokens   F numbers of a token, as they arrive   R receiver streams   D receiver width
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kvalign/dataset/dataset_index.h"
#include "kvalign/deploy/input_statistics.h"
#include "kvalign/deploy/model_service_options.h"
#include "kvalign/deploy/packet_receiver.h"
#include "kvalign/evaluate/stream_certificate.h"
#include "kvalign/format/packet.h"
#include "kvalign/model/detokeniser.h"
#include "kvalign/projector/frozen_projector.h"

namespace kvalign {

/// The receiver of a model that generates.
struct ServedReceiver {
  PacketReceiver packets;
  Detokeniser detokeniser;
  std::set<int64_t> end_tokens;
};

struct ServedModel {
  ModelSpec spec = {};
  std::string sha256 = {};   ///< of the checkpoint's file
  std::string version = {};  ///< its first 12 digits
  at::Device device = at::kCPU;
  std::shared_ptr<const FrozenProjector> projector = {};
  PacketId checkpoint_id = {}, geometry_id = {};
  std::optional<InputStatistics> statistics = {};
  std::optional<DatasetIndex> dataset = {};
  std::unique_ptr<const ServedReceiver> receiver = {};
  std::vector<StreamCertificate> certificates = {};  ///< of each stream, or none
  int64_t identical_from_tokens = 1;                 ///< see row_identity.h

  bool takes_latents() const { return projector->options().kind == "low_rank"; }
  int64_t num_streams() const;  ///< that arrive: 1 for a latent
  int64_t num_values() const;   ///< F

  /// [T, F] float32 on the CPU to [R, T, D] on the model's device, without gradients.
  at::Tensor project(const at::Tensor& rows_TF) const;
};

/// Throws std::runtime_error "<name>: ..." as make_model_service says.
std::shared_ptr<const ServedModel> load_served_model(const ModelSpec& spec,
                                                     const ModelServiceOptions& options);

/// What clients see of it: the protocol's model metadata.
nlohmann::json model_metadata(const ServedModel& model);

}  // namespace kvalign
