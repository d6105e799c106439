// Loading a model, with every check that needs no request. See served_model.h.
#include "served_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/device.h"
#include "kvalign/core/files.h"
#include "kvalign/core/packet_tensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/model/capture.h"
#include "kvalign/train/checkpoint.h"
#include "row_identity.h"
#include "tokeniser_digest.h"

namespace kvalign {
namespace {

// The file and its hash, of one moment: it may be replaced while it is read.
std::pair<Checkpoint, std::string> load_with_hash(const std::string& path) {
  constexpr int kAttempts = 3;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::string before = sha256_of_file(path);
    Checkpoint checkpoint = load_checkpoint(path);
    if (sha256_of_file(path) == before) return {std::move(checkpoint), before};
  }
  throw std::runtime_error(path +
                           " changes while it is read. Replace it in one step: write another "
                           "file, then rename it");
}

// The dataset that the checkpoint was trained on, whose index knows both models.
DatasetIndex index_of_training(const std::string& folder, const std::string& sha256) {
  const std::string path = folder + "/index.json";
  const std::string came = sha256_of_file(path);
  if (came != sha256) {
    throw std::runtime_error(path + ": expected the dataset of the checkpoint (SHA-256 " + sha256 +
                             "), got another (" + came + ")");
  }
  return read_index(folder);
}

// Packets carry token ids: they must mean the same to the receiver as to who trained.
void check_receiver_folder(const std::string& folder, const DatasetSide& trained) {
  const std::string digest = tokeniser_digest(folder);
  if (!trained.tokenizer_sha256.empty() && digest != trained.tokenizer_sha256) {
    throw std::runtime_error(folder + "/tokenizer.json: expected the tokeniser of the dataset (" +
                             trained.tokenizer_sha256 + "), got another (" + digest + ")");
  }
  const std::string revision = weights_sha256(folder);
  if (revision != trained.revision) {
    throw std::runtime_error(folder +
                             ": expected the weights of the dataset's receiver (revision " +
                             trained.revision + "), got others (" + revision + ")");
  }
}

// The ids after which a text has ended: eos_token_id, one or a list.
std::set<int64_t> read_end_tokens(const std::filesystem::path& folder) {
  for (const char* name : {"generation_config.json", "config.json"}) {
    if (!std::filesystem::exists(folder / name)) continue;
    const nlohmann::json config =
        nlohmann::json::parse(read_file((folder / name).string()), nullptr, false);
    const nlohmann::json end =
        config.is_object() ? config.value("eos_token_id", nlohmann::json()) : nlohmann::json();
    if (end.is_number_integer()) return {end.get<int64_t>()};
    if (end.is_array()) return end.get<std::set<int64_t>>();
  }
  return {};
}

std::vector<StreamCertificate> all_certificates(const Projector& projector) {
  std::vector<StreamCertificate> certificates;
  for (int64_t stream = 0; stream < projector.shape().num_streams; ++stream) {
    certificates.push_back(make_stream_certificate(projector, stream));
  }
  return certificates;
}

void check_statistics_file(const InputStatistics& statistics, const ServedModel& model) {
  if (statistics.checkpoint == model.sha256 && statistics.mean_F.numel() == model.num_values()) {
    return;
  }
  throw std::runtime_error(model.spec.statistics + ": expected statistics of " +
                           std::to_string(model.num_values()) + " numbers of checkpoint " +
                           model.sha256 + ", got " + std::to_string(statistics.mean_F.numel()) +
                           " of " + statistics.checkpoint + ". Measure them again");
}

std::shared_ptr<const ServedModel> load_model_files(const ModelSpec& spec,
                                                    const ModelServiceOptions& options) {
  auto [checkpoint, sha256] = load_with_hash(spec.checkpoint);
  auto model = std::make_shared<ServedModel>();
  model->spec = spec;
  model->sha256 = sha256;
  model->version = sha256.substr(0, 12);
  model->device = resolve_device(options.device);
  model->checkpoint_id = packet_id(sha256);
  model->geometry_id = packet_id(geometry_id(checkpoint.projector->sender()));
  Projector& module = checkpoint.projector->projector();
  if (options.certificate.of == "projected") model->certificates = all_certificates(module);
  module.to(model->device);
  model->projector = std::make_shared<const FrozenProjector>(
      *checkpoint.projector, at::kFloat, /*packs=*/!options.batch.bit_identical);
  checkpoint.projector.reset();  // its weights are needed no more
  if (!spec.statistics.empty()) {
    model->statistics = load_input_statistics(spec.statistics);
    check_statistics_file(*model->statistics, *model);
  }
  if (!spec.dataset.empty()) {
    model->dataset = index_of_training(spec.dataset, checkpoint.dataset_sha256);
  }
  if (!spec.receiver.empty()) {
    if (model->dataset) check_receiver_folder(spec.receiver, model->dataset->receiver);
    model->receiver = std::make_unique<const ServedReceiver>(
        ServedReceiver{.packets = PacketReceiver(model->projector, model->checkpoint_id,
                                                 Decoder::load(spec.receiver, model->device)),
                       .detokeniser = Detokeniser::open(spec.receiver),
                       .end_tokens = read_end_tokens(spec.receiver)});
  }
  model->identical_from_tokens = identical_from_tokens(*model, options.batch.max_tokens);
  return model;
}

}  // namespace

int64_t ServedModel::num_streams() const {
  return takes_latents() ? 1 : kvalign::num_streams(projector->sender());
}

int64_t ServedModel::num_values() const {
  return takes_latents() ? projector->options().rank : num_streams() * projector->sender().width();
}

at::Tensor ServedModel::project(const at::Tensor& rows_TF) const {
  const at::Tensor rows = rows_TF.to(device);
  if (takes_latents()) return projector->project_latent(rows.unsqueeze(0));
  return projector->project(
      rows.view({rows.size(0), num_streams(), projector->sender().width()}).transpose(0, 1));
}

std::shared_ptr<const ServedModel> load_served_model(const ModelSpec& spec,
                                                     const ModelServiceOptions& options) {
  try {
    return load_model_files(spec, options);
  } catch (const std::exception& error) {
    throw std::runtime_error(spec.name + ": " + error.what());
  }
}

nlohmann::json model_metadata(const ServedModel& model) {
  using nlohmann::json;
  const auto tensor = [](const char* name, const char* datatype, std::vector<int64_t> shape) {
    return json{{"name", name}, {"datatype", datatype}, {"shape", std::move(shape)}};
  };
  const KvGeometry& receiver = model.projector->receiver();
  const json outputs =
      is_flat(receiver)
          ? json::array({tensor("cache", "FP32", {-1, receiver.width()})})
          : json::array(
                {tensor("keys", "FP32",
                        {receiver.num_layers, receiver.num_kv_heads, -1, receiver.head_dim}),
                 tensor("values", "FP32",
                        {receiver.num_layers, receiver.num_kv_heads, -1, receiver.head_dim})});
  const bool checked = model.dataset.has_value();
  return {{"name", model.spec.name},
          {"versions", json::array({model.version})},
          {"platform", "kvalign"},
          {"inputs", json::array({tensor("packet", "UINT8", {-1}),
                                  tensor("codes", "UINT8", {-1, model.num_values()}),
                                  tensor("scales", "FP32", {-1, model.num_streams()}),
                                  tensor("features", "FP32", {-1, model.num_values()}),
                                  tensor("token_ids", "INT32", {-1})})},
          {"outputs", outputs},
          {"parameters",
           {{"sha256", model.sha256},
            {"kind", model.projector->options().kind},
            {"sender", model.projector->sender().model},
            {"receiver", receiver.model},
            {"takes", model.takes_latents() ? "latent" : "cache"},
            {"tokenizer_sha256", checked ? json(model.dataset->sender.tokenizer_sha256) : json()},
            {"sender_revision", checked ? json(model.dataset->sender.revision) : json()},
            {"generates", model.receiver != nullptr},
            {"identical_from_tokens", model.identical_from_tokens}}}};
}

}  // namespace kvalign
