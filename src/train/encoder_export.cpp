// The encoder's weights in the order in which the sender's streams are read. Checkpoints hold them
// with the standardisation of features folded in.
#include "kvalign/train/encoder_export.h"

#include <ATen/ATen.h>

#include <stdexcept>
#include <vector>

#include "kvalign/core/packet_tensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/format/fp8_scale.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"

namespace kvalign {
namespace {

EncoderFileHeader header_of(const std::string& path, const KvProjector& projector, int64_t rank) {
  const KvGeometry& sender = projector.sender();
  const std::string& wire = projector.options().latent_wire;
  EncoderFileHeader header;
  header.is_flat = is_flat(sender);
  header.wire_element = wire == "float8_e4m3fn" ? PacketElement::kE4M3FN
                        : wire == "float16"     ? PacketElement::kF16
                                                : PacketElement::kF32;
  header.wire_scale = header.wire_element == PacketElement::kE4M3FN ? kLatentScale : 1.0f;
  header.num_layers = static_cast<uint32_t>(sender.num_layers);
  header.num_kv_heads = static_cast<uint32_t>(sender.num_kv_heads);
  header.head_dim = static_cast<uint32_t>(sender.head_dim);
  header.rank = static_cast<uint32_t>(rank);
  header.num_streams = static_cast<uint32_t>(projector.plan().group_streams().front().size());
  header.geometry_id = packet_id(geometry_id(sender));
  header.encoder_id = packet_id(sha256_of_file(path));
  return header;
}

}  // namespace

EncoderExport export_encoder(const std::string& path, int64_t rank) {
  const Checkpoint checkpoint = load_checkpoint(path);
  const KvProjector& projector = *checkpoint.projector;
  if (projector.options().kind != "low_rank") {
    throw std::runtime_error(
        path + ": expected a low_rank projector, whose encoder runs on the device, got " +
        projector.options().kind);
  }
  TORCH_CHECK(rank >= 0 && rank <= projector.options().rank, path, ": expected a rank of 1 to ",
              projector.options().rank, ", got ", rank);
  if (rank == 0) rank = projector.options().rank;
  const auto parameters = projector.projector().named_parameters();
  const at::Tensor weights_RF =
      parameters["encoder.weight"].detach().select(0, 0).narrow(0, 0, rank).contiguous();
  const at::Tensor bias_R =
      parameters["encoder.bias"].detach().select(0, 0).narrow(0, 0, rank).contiguous();
  const std::vector<int64_t>& read = projector.plan().group_streams().front();
  const std::vector<uint32_t> streams(read.begin(), read.end());

  EncoderExport result;
  result.header = header_of(path, projector, rank);
  EncoderFileLayout layout;
  EncoderFileStatus status = lay_out_encoder_file(result.header, layout);
  if (status == EncoderFileStatus::kOk) {
    result.bytes.resize(layout.file_bytes);
    status = write_encoder_file(result.header, streams.data(), bias_R.const_data_ptr<float>(),
                                weights_RF.const_data_ptr<float>(),
                                reinterpret_cast<uint8_t*>(result.bytes.data()));
  }
  TORCH_INTERNAL_ASSERT(status == EncoderFileStatus::kOk, "a checkpoint that was checked");
  return result;
}

}  // namespace kvalign
