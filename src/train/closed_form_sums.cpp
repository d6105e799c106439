// Files of sums, and the passes that make them. See closed_form_sums.h.
#include "closed_form_sums.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "kvalign/core/device.h"
#include "kvalign/core/options_json.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/projector/kv_projector.h"
#include "preparation.h"

namespace kvalign {
namespace {

constexpr const char* kIdentity = "kvalign.statistics";

std::string identity_of(const SafetensorsFile& file) {
  const auto found = file.metadata().find(kIdentity);
  return found == file.metadata().end() ? "nothing" : found->second;
}

LayerMapOptions layer_map_of_sums(const Recipe& recipe) {
  if (recipe.fit.top_k > 0) return {.kind = "all", .features = "both"};
  return recipe.projector.layer_map;
}

class SumsFolder {
 public:
  SumsFolder(const Recipe& recipe, const DistillControl& control,
             std::shared_ptr<const PairedDataset> dataset, const Split& split)
      : recipe_(recipe),
        control_(control),
        dataset_(std::move(dataset)),
        split_(split),
        device_(resolve_device(recipe.device)),
        layer_map_(layer_map_of_sums(recipe)),
        plan_(dataset_->index().sender.geometry, dataset_->index().receiver.geometry, layer_map_),
        folder_(recipe.fit.statistics.empty()
                    ? std::filesystem::path(recipe.run_folder) / "statistics"
                    : std::filesystem::path(recipe.fit.statistics)) {
    std::filesystem::create_directories(folder_);
  }

  ClosedFormSums read() {
    ClosedFormSums all{.training = sums("training", split_.train), .validation = {}};
    for (const std::string& path : recipe_.fit.merge) {
      const SafetensorsFile file = SafetensorsFile::open(path);
      check_mergeable(file);
      all.training.merge(RidgeStatistics::from_file(file));
    }
    if (!split_.validation.empty()) all.validation = sums("validation", split_.validation);
    return all;
  }

 private:
  // What sums are of. Those of other data or another layer map must not be taken for them.
  std::string identity(const std::string& part) const {
    LayerMapOptions layer_map = layer_map_;
    return nlohmann::json{{"part", part},
                          {"dataset", dataset_->sha256()},
                          {"split", split_.sha256},
                          {"skip_first_tokens", num_skipped_tokens(recipe_.dataset, *dataset_)},
                          {"alignment", recipe_.dataset.alignment},
                          {"wire", recipe_.loader.wire},
                          {"layer_map", options_to_json(layer_map)}}
        .dump();
  }

  // Of the file where it is there, else made from the data and kept.
  RidgeStatistics sums(const std::string& part, const std::vector<int64_t>& sequences) {
    const std::string path = (folder_ / (part + ".safetensors")).string();
    if (std::filesystem::exists(path)) {
      const SafetensorsFile file = SafetensorsFile::open(path);
      const std::string came = identity_of(file);
      if (came != identity(part)) {
        throw std::runtime_error(path + ": expected sums of " + identity(part) + ", got " + came +
                                 ". Give fit.statistics another folder, or delete this file");
      }
      return RidgeStatistics::from_file(file).to(device_);
    }
    RidgeStatistics statistics(projector_shape(plan_, dataset_->index().receiver.geometry),
                               device_);
    BatchLoader loader(dataset_, sequences, loader_options(recipe_, *dataset_, /*shuffle=*/false));
    const int64_t num_batches = loader.num_batches(0);
    loader.start(0);
    PairedBatch batch;
    for (int64_t done = 1; loader.next(batch); ++done) {
      statistics.add(plan_.gather(batch.sender_STd), batch.receiver_RTD);
      if (control_.observer) control_.observer->on_progress(part + " sums", done, num_batches);
      if (control_.stop_requested && control_.stop_requested()) throw FitStopped();
    }
    write_safetensors(path, statistics.to(c10::kCPU).tensors(), {{kIdentity, identity(part)}});
    if (control_.observer) control_.observer->on_save("statistics", path);
    return statistics;
  }

  // Other data is welcome, sums of another part or of features in another order are not.
  void check_mergeable(const SafetensorsFile& file) const {
    const auto own = nlohmann::json::parse(identity("training"));
    const auto other = nlohmann::json::parse(identity_of(file), nullptr, /*exceptions=*/false);
    for (const char* key : {"part", "layer_map", "skip_first_tokens", "alignment", "wire"}) {
      const std::string came =
          other.is_object() && other.contains(key) ? other[key].dump() : "none";
      if (came == own[key].dump()) continue;
      throw std::runtime_error(file.path() + ": expected sums with " + key + " " + own[key].dump() +
                               ", got " + came +
                               ". Only training sums made with one recipe's "
                               "settings can be merged");
    }
  }

  const Recipe& recipe_;
  const DistillControl& control_;
  std::shared_ptr<const PairedDataset> dataset_;
  const Split& split_;
  const c10::Device device_;  // where products are made and kept
  const LayerMapOptions layer_map_;
  const FeaturePlan plan_;
  const std::filesystem::path folder_;
};

}  // namespace

ClosedFormSums closed_form_sums(const Recipe& recipe, const DistillControl& control,
                                std::shared_ptr<const PairedDataset> dataset, const Split& split) {
  return SumsFolder(recipe, control, std::move(dataset), split).read();
}

}  // namespace kvalign
