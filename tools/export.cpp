// kvalign export: a checkpoint's projector for programs that are not kvalign.
#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "kvalign/core/files.h"
#include "kvalign/deploy/onnx_export.h"
#include "kvalign/ops/rope.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/encoder_export.h"

namespace kvalign::tools {
namespace {

struct ExportFlags {
  std::string checkpoint;
  std::string output;
  std::string format;
  std::string inverse_frequencies;
  OnnxExportOptions onnx;
};

// Flags that a format has no use for are mistakes.
void check_export_flags(const ExportFlags& flags) {
  const bool is_edge = flags.format == "edge";
  const bool has_onnx_flags = flags.onnx.opset != 0 || flags.onnx.fp8 || flags.onnx.latent;
  if (is_edge && has_onnx_flags) {
    throw WrongUsage("--opset, --fp8 and --latent are of --format onnx and triton, got edge");
  }
  if (!is_edge && !flags.inverse_frequencies.empty()) {
    throw WrongUsage("--inverse-frequencies is of --format edge, got " + flags.format);
  }
}

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

nlohmann::json export_edge(const ExportFlags& flags) {
  const EncoderExport exported = export_encoder(flags.checkpoint, flags.onnx.rank);
  if (!flags.inverse_frequencies.empty()) write_inverse_frequencies(flags);
  write_file_atomically(flags.output, exported.bytes);
  return {{"output", flags.output},
          {"bytes", exported.bytes.size()},
          {"rank", exported.header.rank},
          {"num_streams", exported.header.num_streams},
          {"geometry_id", hex(exported.header.geometry_id)},
          {"encoder_id", hex(exported.header.encoder_id)}};
}

nlohmann::json to_json(const std::vector<OnnxTensor>& tensors) {
  nlohmann::json shapes = nlohmann::json::object();
  for (const OnnxTensor& tensor : tensors) shapes[tensor.name] = tensor.shape;
  return shapes;
}

nlohmann::json to_json(const OnnxExport& exported) {
  return {{"output", exported.model},
          {"bytes", exported.sizes.model_bytes},
          {"data_bytes", exported.sizes.data_bytes},
          {"opset", exported.opset},
          {"inputs", to_json(exported.inputs)},
          {"outputs", to_json(exported.outputs)}};
}

int export_checkpoint(const ExportFlags& flags) {
  check_export_flags(flags);
  if (flags.format == "edge") {
    print_result(export_edge(flags));
  } else if (flags.format == "onnx") {
    print_result(to_json(export_onnx(flags.checkpoint, flags.output, flags.onnx)));
  } else {
    const TritonExport exported = export_triton(flags.checkpoint, flags.output, flags.onnx);
    nlohmann::json json = to_json(exported.onnx);
    json["config"] = exported.config;
    json["version"] = exported.version;
    print_result(json);
  }
  return kDone;
}

}  // namespace

void add_export(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand(
      "export", "writes a checkpoint's projector for ONNX runtimes, Triton, or the device");
  auto flags = std::make_shared<ExportFlags>();
  command->add_option("CHECKPOINT", flags->checkpoint, "what training produced")
      ->required()
      ->type_name("");
  command
      ->add_option("OUTPUT", flags->output,
                   "the file; triton: the model's folder in the repository")
      ->required()
      ->type_name("");
  command
      ->add_option("--format", flags->format,
                   "onnx: a model; triton: a model with its config.pbtxt; edge: the\nencoder of a "
                   "low_rank checkpoint for kvalign-encode")
      ->required()
      ->check(CLI::IsMember({"onnx", "triton", "edge"}))
      ->type_name("FORMAT");
  command
      ->add_option("--rank", flags->onnx.rank,
                   "low_rank: keeps the first numbers of the latent; default: all")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--opset", flags->onnx.opset,
                   "onnx, triton: version of the operators, 17 to 23; default: 17,\nor 19 where "
                   "there are FP8 numbers")
      ->check(CLI::Range(17, 23))
      ->type_name("N");
  command->add_flag("--fp8", flags->onnx.fp8, "onnx, triton: reads FP8 codes and scales");
  command->add_flag("--latent", flags->onnx.latent,
                    "onnx, triton: reads the latents of a low_rank checkpoint");
  command
      ->add_option("--inverse-frequencies", flags->inverse_frequencies,
                   "edge: also writes the sender's, for keys that are rotated")
      ->type_name("FILE");
  command->callback([=, &chosen] { chosen = [=] { return export_checkpoint(*flags); }; });
}

}  // namespace kvalign::tools
