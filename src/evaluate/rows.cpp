// Makes rows of checkpoints and baselines. See rows.h.
#include "rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <stdexcept>

#include "kvalign/projector/frozen_projector.h"
#include "kvalign/train/checkpoint.h"
#include "projector_size.h"

namespace kvalign {
namespace {

struct NamedPath {
  std::string name;
  std::string path;
  int64_t rank = 0;       // 0: whole
  std::string wire = {};  // empty: the ladder's
};

// "path@float8_e4m3fn/token" sends the cache in that type. An @ before a file's name is part of it.
std::string cut_wire(std::string& path) {
  const size_t mark = path.rfind('@');
  const size_t stem = path.rfind(".safetensors");
  if (mark == std::string::npos || stem == std::string::npos || mark < stem) return "";
  const std::string wire = path.substr(mark + 1);
  try {
    parse_fp8_wire(wire);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument("evaluate: " + path + ": after '@' " + error.what() +
                                ". Write path@float8_e4m3fn/token for scales of tokens.");
  }
  path.resize(mark);
  return wire;
}

// "path#128" cuts the latent to its first 128 numbers.
int64_t cut_rank(std::string& path) {
  const size_t mark = path.rfind('#');
  if (mark == std::string::npos) return 0;
  const std::string digits = path.substr(mark + 1);
  const bool is_number =
      !digits.empty() && digits.size() < 10 &&
      std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number || std::stoll(digits) == 0) {
    throw std::invalid_argument("evaluate: expected a rank after '#', got \"" + digits + "\" in " +
                                path + ". Write path#128 for the first 128 numbers of a latent.");
  }
  path.resize(mark);
  return std::stoll(digits);
}

// "name=path", or a path, which names the row by its folder: runs/v1/checkpoint.safetensors is v1.
NamedPath parse_checkpoint(std::string text) {
  const std::string wire = cut_wire(text);
  const int64_t rank = cut_rank(text);
  const size_t equals = text.find('=');
  if (equals != std::string::npos) {
    return {text.substr(0, equals), text.substr(equals + 1), rank, wire};
  }
  const std::filesystem::path path = std::filesystem::absolute(text).lexically_normal();
  const std::string stem = path.stem().string();
  const std::string folder = path.parent_path().filename().string();
  if (folder.empty()) return {stem, text, rank, wire};
  std::string name = stem == "checkpoint" ? folder : folder + "/" + stem;
  if (rank > 0) name += " " + std::to_string(rank);
  if (!wire.empty()) name += " " + wire;
  return {name, text, rank, wire};
}

void check_same_data(const Checkpoint& checkpoint, const std::string& path,
                     const RowContext& context) {
  const auto refuse = [&](const char* what, const std::string& expected, const std::string& came) {
    throw std::runtime_error("evaluate: " + path + " was trained on another " + what +
                             " (SHA-256 " + came + ") than the one given (" + expected +
                             "): sequences that are held out here may have been seen in training. "
                             "Evaluate it with the recipe of its run.");
  };
  if (checkpoint.dataset_sha256 != context.dataset.sha256()) {
    refuse("dataset", context.dataset.sha256(), checkpoint.dataset_sha256);
  }
  if (checkpoint.split_sha256 != context.split_sha256) {
    refuse("split", context.split_sha256, checkpoint.split_sha256);
  }
}

void check_geometry(const KvGeometry& projector, const DatasetSide& side, const char* name,
                    const std::string& path) {
  if (projector == side.geometry) return;
  const auto describe = [](const KvGeometry& geometry) {
    return geometry.model + " (" + std::to_string(geometry.num_layers) + " layers, " +
           std::to_string(geometry.num_kv_heads) + " kv heads, head dim " +
           std::to_string(geometry.head_dim) + ")";
  };
  throw std::runtime_error("evaluate: " + path + " projects with " + name + " " +
                           describe(projector) + ", but the dataset's " + name + " is " +
                           describe(side.geometry) +
                           ". Both must agree, rope included. Was it trained on these models?");
}

std::string describe_projector(const KvProjector& projector) {
  const ProjectorOptions& options = projector.projector().options();
  std::string text = options.kind;
  if (options.kind == "mlp") text += ", hidden " + std::to_string(options.hidden_size);
  if (options.kind == "low_rank") {
    text += ", rank " + std::to_string(options.rank) + " sent as " + options.latent_wire;
  }
  if (options.kind == "autoencoder") text += ", rank " + std::to_string(options.rank);
  if (options.kind == "bidirectional") text += ", weights " + options.compress_weights;
  text += ", norm " + options.norm;
  if (is_flat(projector.receiver())) return text;
  return text + ", layer map " + options.layer_map.kind + " (" + options.layer_map.features + ")";
}

Row projector_row(std::string name, std::string text, std::shared_ptr<KvProjector> projector,
                  const at::Device& device) {
  projector->projector().eval();
  projector->projector().to(device);
  const auto frozen = std::make_shared<const FrozenProjector>(*projector);
  std::function<at::Tensor(const at::Tensor&)> compress;
  if (projector->options().kind == "bidirectional") {
    compress = [projector](const at::Tensor& receiver) { return projector->compress(receiver); };
  }
  return {.name = std::move(name),
          .text = std::move(text),
          .projector = projector,
          .wire = projector->latent_bytes() > 0 ? projector->options().latent_wire : "",
          .wire_bytes_per_token = projector->latent_bytes(),
          .num_parameters = projector->projector().num_parameters(),
          .size = projector_size(*projector),
          .project = [frozen](const at::Tensor& sender) { return frozen->project(sender); },
          .compress = std::move(compress)};
}

// Lets the row read what arrives of a cache that is sent in FP8.
void send_in_fp8(Row& row, const std::string& name, const KvGeometry& sender,
                 const std::string& path) {
  if (!row.wire.empty()) {
    throw std::invalid_argument("evaluate: " + path + " sends a latent as " + row.wire +
                                ", not the cache. Leave out '@" + name + "'.");
  }
  row.compress = nullptr;  // the way back sends nothing of the sender's
  const Fp8Wire wire = parse_fp8_wire(name);
  const int64_t num_kv_heads = sender.num_kv_heads;
  const int64_t num_streams = is_flat(sender) ? 1 : 2 * sender.num_layers;
  const Fp8WireBytes bytes = fp8_wire_bytes(wire, num_streams, sender.width(), num_kv_heads);
  row.text += ", cache sent as " + name;
  row.wire = name;
  row.wire_bytes_per_token = bytes.per_token;
  row.wire_bytes_once = bytes.once;
  row.fp8_wire = wire;
  row.num_kv_heads = num_kv_heads;
}

std::string why_absent(const std::string& kind, const ProjectorShape& shape) {
  const std::string sizes =
      std::to_string(shape.num_features) + " features to " + std::to_string(shape.width);
  if (kind == "truncate") return "there is nothing to cut from " + sizes;
  if (kind == "pad") return "there is nothing to fill from " + sizes;
  return "not defined from " + sizes;
}

const char* baseline_text(const std::string& kind) {
  if (kind == "truncate") return "the first elements of the sender's vector";
  if (kind == "pad") return "the sender's vector, then zeros";
  if (kind == "interpolate") return "the sender's vector, stretched linearly over the elements";
  return "a random linear map";
}

}  // namespace

at::Tensor arrived(const Row& row, const at::Tensor& sender_STd, int64_t not_sent) {
  if (!row.fp8_wire) return sender_STd;
  const int64_t sent = sender_STd.size(1) - not_sent;
  return at::cat(
      {sender_STd.narrow(1, 0, not_sent),
       send_cache(*row.fp8_wire, sender_STd.narrow(1, not_sent, sent), row.num_kv_heads)},
      1);
}

std::vector<Row> checkpoint_rows(const EvaluateOptions& options, const RowContext& context,
                                 std::vector<std::string>& warnings) {
  std::vector<Row> rows;
  std::set<std::string> names(options.baselines.begin(), options.baselines.end());
  for (const std::string& text : options.checkpoints) {
    const auto [name, path, rank, wire] = parse_checkpoint(text);
    if (name.empty() || !names.insert(name).second) {
      throw std::invalid_argument("evaluate: expected checkpoints with names of their own, got \"" +
                                  name + "\" again for " + path +
                                  ". Name the row with name=" + path + ".");
    }
    Checkpoint checkpoint = load_checkpoint(path);
    if (rank > 0) {
      checkpoint.projector = std::make_shared<KvProjector>(checkpoint.projector->with_rank(rank));
    }
    check_geometry(checkpoint.projector->sender(), context.dataset.index().sender, "sender", path);
    check_geometry(checkpoint.projector->receiver(), context.dataset.index().receiver, "receiver",
                   path);
    check_same_data(checkpoint, path, context);
    if (checkpoint.skip_first_tokens != context.skip_first_tokens) {
      warnings.push_back(name + " was trained without the first " +
                         std::to_string(checkpoint.skip_first_tokens) +
                         " tokens of each sequence, and is evaluated without the first " +
                         std::to_string(context.skip_first_tokens) + ".");
    }
    rows.push_back(projector_row(name, describe_projector(*checkpoint.projector),
                                 checkpoint.projector, context.device));
    rows.back().checkpoint = path;
    rows.back().task_head = std::move(checkpoint.task_head);
    rows.back().rank = rank;
    if (!wire.empty()) send_in_fp8(rows.back(), wire, checkpoint.projector->sender(), path);
  }
  return rows;
}

std::vector<Row> baseline_rows(const EvaluateOptions& options, const RowContext& context,
                               std::vector<AbsentRow>& absent) {
  const KvGeometry& sender = context.dataset.index().sender.geometry;
  const KvGeometry& receiver = context.dataset.index().receiver.geometry;
  std::vector<Row> rows;
  for (const std::string& kind : options.baselines) {
    if (kind == "mean") continue;
    const ProjectorOptions projector_options = baseline_options(kind, options.seed);
    const FeaturePlan plan(sender, receiver, projector_options.layer_map);
    const ProjectorShape shape = projector_shape(plan, receiver);
    const std::vector<std::string> kinds = baseline_kinds(shape);
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
      absent.push_back({kind, why_absent(kind, shape)});
      continue;
    }
    rows.push_back(projector_row(kind, baseline_text(kind),
                                 std::make_shared<KvProjector>(projector_options, sender, receiver),
                                 context.device));
  }
  return rows;
}

Row mean_row(const at::Tensor& mean_RD, int64_t num_train_sequences) {
  return {.name = "mean",
          .text = "the mean true vector of " + std::to_string(num_train_sequences) +
                  " training sequences",
          .project = [mean_RD](const at::Tensor& sender_STd) {
            return mean_RD.unsqueeze(1).expand({-1, sender_STd.size(1), -1});
          }};
}

}  // namespace kvalign
