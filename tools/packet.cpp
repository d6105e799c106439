// kvalign encode | decode: a sequence of a paired dataset to a packet, and a packet to tensors.
// `encode` runs the device's library, so its packets are those of the device.
#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "kvalign/core/files.h"
#include "kvalign/core/packet_tensors.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/dataset/dataset_index.h"
#include "kvalign/dataset/paired_dataset.h"

namespace kvalign::tools {
namespace {

struct EncodeFlags {
  std::string dataset;
  std::string output;
  int64_t sequence = 0;
  PacketOptions options;
};

struct DecodeFlags {
  std::string packet;
  std::string output;
};

nlohmann::json bytes_per_token(const PacketBytes& bytes) {
  return {{"header", bytes.per_token(bytes.header)},
          {"scales", bytes.per_token(bytes.scales)},
          {"token_ids", bytes.per_token(bytes.token_ids)},
          {"codes", bytes.per_token(bytes.codes)},
          {"framing", bytes.per_token(bytes.framing)},
          {"checksums", bytes.per_token(bytes.checksums)},
          {"total", bytes.per_token(bytes.total())}};
}

nlohmann::json to_json(const DecodedPacket& packet) {
  return {{"tokens", packet.bytes.num_tokens},
          {"tokens_in_chunks", packet.values_TMW.size(0)},
          {"streams", packet.values_TMW.size(1)},
          {"width", packet.values_TMW.size(2)},
          {"bytes_per_token", bytes_per_token(packet.bytes)}};
}

int encode(const EncodeFlags& flags) {
  const auto dataset = PairedDataset::open(flags.dataset);
  const PairedBatch batch = dataset->read({flags.sequence});
  EncodedPacket packet;
  try {
    packet = encode_packet(dataset->index().sender.geometry, batch.sender_STd, batch.token_ids,
                           flags.options);
  } catch (const std::invalid_argument& error) {
    throw WrongUsage(error.what());
  }
  write_file_atomically(flags.output, packet.bytes);
  nlohmann::json result = to_json(decode_packet(packet.bytes));
  result["saturated"] = packet.saturated;
  result["flushed"] = packet.flushed;
  print_result(result);
  return kDone;
}

at::Tensor ids_tensor(const std::vector<int32_t>& ids) {
  return at::tensor(ids, at::kInt);
}

int decode(const DecodeFlags& flags) {
  const DecodedPacket packet = decode_packet(read_file(flags.packet));
  if (!flags.output.empty()) {
    write_safetensors(flags.output,
                      {{"values", packet.values_TMW},
                       {"token_ids.sinks", ids_tensor(packet.sink_token_ids)},
                       {"token_ids.chunks", ids_tensor(packet.token_ids)},
                       {"token_ids.reread", ids_tensor(packet.reread_token_ids)}},
                      {{"first_token", std::to_string(packet.first_token)},
                       {"position_offset", std::to_string(packet.header.position_offset)}});
  }
  print_result(to_json(packet));
  return kDone;
}

void add_packet_options(CLI::App& command, PacketOptions& options) {
  command
      .add_option("--encoder", options.encoder,
                  "sends latents: what kvalign export --format edge wrote")
      ->type_name("FILE");
  command.add_option("--element", options.element,
                     "e4m3fn, e5m2, f16, bf16 or f32; default: the encoder file's, else e4m3fn");
  command.add_option("--scales", options.scales,
                     "none, tensor, head, token, channel or block32; default: the encoder file's, "
                     "else token");
  command.add_option("--chunk", options.chunk_tokens, "tokens of a chunk");
  command.add_option("--sinks", options.num_sinks, "first tokens that travel as ids alone");
  command.add_option("--reread", options.num_reread, "last tokens that travel as ids alone");
  command.add_option("--position", options.position_offset, "position of the first token");
  command.add_flag("--all-token-ids", options.all_token_ids, "each token travels with its id");
}

}  // namespace

void add_encode(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("encode", "writes the packet of one sequence's sender cache");
  auto flags = std::make_shared<EncodeFlags>();
  command->add_option("DATASET", flags->dataset, "a paired dataset")->required()->type_name("");
  command->add_option("OUTPUT", flags->output, "the packet")->required()->type_name("");
  command->add_option("--sequence", flags->sequence, "which sequence of the dataset, from 0");
  add_packet_options(*command, flags->options);
  command->callback([=, &chosen] { chosen = [=] { return encode(*flags); }; });
}

void add_decode(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("decode", "checks a packet and shows its bytes a token, part by part");
  auto flags = std::make_shared<DecodeFlags>();
  command->add_option("PACKET", flags->packet, "the packet")->required()->type_name("");
  command
      ->add_option("--output", flags->output,
                   "writes its values as float32 [tokens, streams, width], in a safetensors file")
      ->type_name("FILE");
  command->callback([=, &chosen] { chosen = [=] { return decode(*flags); }; });
}

}  // namespace kvalign::tools
