// One safetensors file: `projector.<name>` tensors, `task_head.weight` and `task_head.bias` where
// there is a head, and metadata under the keys below.
#include "kvalign/train/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "kvalign/core/geometry_json.h"
#include "kvalign/core/options_json.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/projector/kv_projector.h"
#include "named_tensors.h"

namespace kvalign {

namespace {

constexpr const char* kFormatVersion = "1";
constexpr const char* kPrefix = "projector.";
constexpr const char* kHeadWeight = "task_head.weight";
constexpr const char* kHeadBias = "task_head.bias";

// An equal projector whose weights do the standardisation; the one in training keeps its own.
KvProjector folded_copy(const KvProjector& original) {
  KvProjector copy(original.options(), original.sender(), original.receiver());
  const std::vector<NamedTensor> tensors = named_tensors(original.projector(), "");
  if (has_statistics(tensors)) set_identity_statistics(copy);
  copy_by_name(named_tensors(copy.projector(), ""), tensors, "save_checkpoint");
  copy.projector().fold_standardisation();
  if (copy.receiver_part()) copy.receiver_part()->fold_standardisation();
  return copy;
}

[[noreturn]] void fail(const std::string& path, const std::string& text) {
  throw std::runtime_error(path + ": " + text);
}

const std::string& entry(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) {
    fail(file.path(),
         "expected the metadata entry \"" + key + "\", got none. Is this a checkpoint of kvalign?");
  }
  return found->second;
}

void check_format_version(const SafetensorsFile& file) {
  const std::string& version = entry(file, "format_version");
  if (version != kFormatVersion) {
    fail(file.path(), std::string("expected checkpoint format version ") + kFormatVersion +
                          ", got " + version + ". It was written by kvalign " +
                          entry(file, "kvalign_version") + "; read it with that version");
  }
}

std::shared_ptr<KvProjector> read_projector(const SafetensorsFile& file) {
  try {
    ProjectorOptions options;
    options_from_json(options, nlohmann::json::parse(entry(file, "projector")), "projector");
    return std::make_shared<KvProjector>(
        options, geometry_from_json(nlohmann::json::parse(entry(file, "sender")), "sender"),
        geometry_from_json(nlohmann::json::parse(entry(file, "receiver")), "receiver"));
  } catch (const std::exception& error) {
    fail(file.path(), std::string("the metadata does not describe a projector: ") + error.what());
  }
}

int64_t read_integer(const SafetensorsFile& file, const std::string& key) {
  const std::string& text = entry(file, key);
  const bool digits =
      !text.empty() && text.size() < 19 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits)
    fail(file.path(),
         "expected a count in the metadata entry \"" + key + "\", got \"" + text + "\"");
  return std::stoll(text);
}

void check_tensors(const SafetensorsFile& file, const std::vector<NamedTensor>& expected) {
  std::set<std::string> known;
  for (const NamedTensor& tensor : expected) {
    known.insert(tensor.name);
    if (!file.contains(tensor.name)) {
      fail(file.path(), "expected a tensor " + tensor.name + ", got none. The file is incomplete");
    }
    const TensorInfo& info = file.info(tensor.name);
    if (info.dtype != tensor.tensor.scalar_type() || info.shape != tensor.tensor.sizes()) {
      fail(file.path(), c10::str("expected tensor ", tensor.name, " of shape ",
                                 tensor.tensor.sizes(), " and type ", tensor.tensor.scalar_type(),
                                 ", got ", at::IntArrayRef(info.shape), " and ", info.dtype,
                                 ". Weights and metadata do not belong together"));
    }
    file.check_finite(tensor.name);
  }
  for (const auto& [name, info] : file.tensors()) {
    if (!known.contains(name)) {
      fail(file.path(), "unknown tensor " + name + ". Weights and metadata do not belong together");
    }
  }
}

// Room for the file's head, if it has one: of its own number of classes, for the caches of `shape`.
std::optional<TaskHead> head_to_read(const SafetensorsFile& file, const ProjectorShape& shape) {
  if (!file.contains(kHeadWeight)) return std::nullopt;
  const std::vector<int64_t>& written = file.info(kHeadWeight).shape;
  const int64_t num_classes = written.empty() ? 0 : written[0];
  if (num_classes < 2) {
    fail(file.path(), c10::str("expected ", kHeadWeight, " of at least 2 classes, got shape ",
                               at::IntArrayRef(written), ". The file is damaged"));
  }
  return TaskHead{at::empty({num_classes, shape.num_streams * shape.width}),
                  at::empty({num_classes})};
}

}  // namespace

void save_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  const KvProjector folded = folded_copy(*checkpoint.projector);
  ProjectorOptions options = folded.options();
  options.standardise_features = false;
  options.standardise_targets = false;
  std::vector<NamedTensor> tensors = named_tensors(folded.projector(), kPrefix);
  if (checkpoint.task_head) {
    tensors.push_back({kHeadWeight, checkpoint.task_head->weight_KC});
    tensors.push_back({kHeadBias, checkpoint.task_head->bias_K});
  }
  write_safetensors(path, tensors,
                    {{"format_version", kFormatVersion},
                     {"kvalign_version", KVALIGN_VERSION},
                     {"projector", options_to_json(options).dump()},
                     {"sender", to_json(folded.sender()).dump()},
                     {"receiver", to_json(folded.receiver()).dump()},
                     {"recipe", checkpoint.recipe},
                     {"metrics", checkpoint.metrics},
                     {"dataset_sha256", checkpoint.dataset_sha256},
                     {"split_sha256", checkpoint.split_sha256},
                     {"num_sinks", std::to_string(checkpoint.num_sinks)},
                     {"skip_first_tokens", std::to_string(checkpoint.skip_first_tokens)}});
}

Checkpoint load_checkpoint(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  check_format_version(file);
  Checkpoint checkpoint{.projector = read_projector(file),
                        .recipe = entry(file, "recipe"),
                        .metrics = entry(file, "metrics"),
                        .dataset_sha256 = entry(file, "dataset_sha256"),
                        .split_sha256 = entry(file, "split_sha256"),
                        .num_sinks = read_integer(file, "num_sinks"),
                        .skip_first_tokens = read_integer(file, "skip_first_tokens")};
  const Projector& projector = checkpoint.projector->projector();
  checkpoint.task_head = head_to_read(file, projector.shape());
  std::vector<NamedTensor> own = named_tensors(projector, kPrefix);
  if (checkpoint.task_head) {
    own.push_back({kHeadWeight, checkpoint.task_head->weight_KC});
    own.push_back({kHeadBias, checkpoint.task_head->bias_K});
  }
  check_tensors(file, own);
  std::vector<NamedTensor> saved;
  for (const NamedTensor& tensor : own) saved.push_back({tensor.name, file.tensor(tensor.name)});
  copy_by_name(own, saved, path);
  return checkpoint;
}

}  // namespace kvalign
