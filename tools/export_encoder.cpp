// kvalign export-encoder: what a device needs of a low_rank checkpoint.
#include "kvalign/train/encoder_export.h"

#include <CLI/App.hpp>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "kvalign/core/files.h"
#include "kvalign/ops/rope.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"

namespace kvalign::tools {
namespace {

struct ExportFlags {
  std::string checkpoint;
  std::string output;
  std::string inverse_frequencies;
  int64_t rank = 0;
};

std::string hex(const PacketId& id) {
  std::string text;
  for (const uint8_t byte : id) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

// float32, little-endian, as `kvalign-encode --inverse-frequencies` reads them.
void write_inverse_frequencies(const ExportFlags& flags) {
  const KvGeometry& sender = load_checkpoint(flags.checkpoint).projector->sender();
  if (!sender.rope.has_value()) {
    throw WrongUsage("--inverse-frequencies: the keys of " + sender.model +
                     " carry no rotary positions");
  }
  const at::Tensor frequencies = rope_inverse_frequencies(*sender.rope).contiguous();
  write_file_atomically(
      flags.inverse_frequencies,
      {static_cast<const char*>(frequencies.const_data_ptr()), frequencies.nbytes()});
}

int export_encoder_file(const ExportFlags& flags) {
  const EncoderExport exported = export_encoder(flags.checkpoint, flags.rank);
  if (!flags.inverse_frequencies.empty()) write_inverse_frequencies(flags);
  write_file_atomically(flags.output, exported.bytes);
  print_result(nlohmann::json{{"output", flags.output},
                              {"bytes", exported.bytes.size()},
                              {"rank", exported.header.rank},
                              {"num_streams", exported.header.num_streams},
                              {"geometry_id", hex(exported.header.geometry_id)},
                              {"encoder_id", hex(exported.header.encoder_id)}});
  return kDone;
}

}  // namespace

void add_export_encoder(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand(
      "export-encoder", "writes the encoder of a low_rank checkpoint for kvalign-encode");
  auto flags = std::make_shared<ExportFlags>();
  command->add_option("CHECKPOINT", flags->checkpoint, "a checkpoint of kind low_rank")
      ->required()
      ->type_name("");
  command->add_option("OUTPUT", flags->output, "the encoder file")->required()->type_name("");
  command->add_option("--rank", flags->rank, "keeps the first numbers of the latent; default: all")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--inverse-frequencies", flags->inverse_frequencies,
                   "also writes the sender's, for keys that are rotated")
      ->type_name("FILE");
  command->callback([=, &chosen] { chosen = [=] { return export_encoder_file(*flags); }; });
}

}  // namespace kvalign::tools
