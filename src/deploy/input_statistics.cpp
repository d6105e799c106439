// Two passes over the training sequences: mean and scale, then the largest token in these units.
// See the header.
#include "kvalign/deploy/input_statistics.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/safetensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"

namespace kvalign {
namespace {

constexpr const char* kStatisticsVersion = "1";

// What the device sends of a sequence: its cache, token by token, or the latent before rounding.
at::Tensor sent_rows(const KvProjector& projector, const at::Tensor& sender_STd) {
  if (projector.latent_bytes() == 0) return sender_STd.transpose(0, 1).flatten(1).contiguous();
  const auto weights = projector.projector().named_parameters();
  return at::linear(projector.plan().gather(sender_STd)[0], weights["encoder.weight"][0],
                    weights["encoder.bias"][0]);
}

class SentRows {
 public:
  SentRows(const std::string& checkpoint, const Recipe& recipe)
      : checkpoint_(load_checkpoint(checkpoint)),
        dataset_(open_dataset(recipe.dataset)),
        split_(split_by_sequence(*dataset_, recipe.split)),
        skip_(num_skipped_tokens(recipe.dataset, *dataset_)) {
    if (checkpoint_.dataset_sha256 != dataset_->sha256() ||
        checkpoint_.split_sha256 != split_.sha256) {
      throw std::runtime_error(checkpoint +
                               ": expected the recipe of its own run, got one with "
                               "another dataset or split");
    }
  }

  const Split& split() const { return split_; }
  at::Tensor rows_TF(int64_t sequence) const {
    return sent_rows(*checkpoint_.projector, dataset_->read({sequence}, skip_).sender_STd);
  }

 private:
  Checkpoint checkpoint_;
  std::shared_ptr<const PairedDataset> dataset_;
  Split split_;
  int64_t skip_;
};

std::string statistics_entry(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) {
    throw std::runtime_error(file.path() + ": expected the metadata entry \"" + key +
                             "\", got none. Is this a file of input statistics?");
  }
  return found->second;
}

at::Tensor statistics_vector(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo& info = file.info(name);
  if (info.dtype != at::kFloat || info.shape.size() != 1 || info.shape[0] < 1) {
    throw std::runtime_error(file.path() + ": expected " + name + " float32 [numbers]");
  }
  file.check_finite(name);
  return file.tensor(name).clone();
}

}  // namespace

at::Tensor token_rms(const InputStatistics& statistics, const at::Tensor& rows_TF) {
  return ((rows_TF - statistics.mean_F) / statistics.scale_F).square_().mean(1).sqrt_();
}

double drift_score(const at::Tensor& rms_T) {
  // A token of exactly the mean has no logarithm.
  const double smallest = std::numeric_limits<float>::min();
  return 2 * rms_T.to(at::kDouble).clamp_min(smallest).log().mean().item<double>();
}

ServingReference measure_serving_reference(const std::string& checkpoint, const Recipe& recipe) {
  const at::NoGradGuard no_gradients;
  const SentRows sent(checkpoint, recipe);
  StatisticsAccumulator accumulator;
  for (const int64_t sequence : sent.split().train) {
    const at::Tensor rows_1TF = sent.rows_TF(sequence).unsqueeze(0);
    accumulator.add(rows_1TF, rows_1TF);
  }
  const FeatureStatistics moments = accumulator.finish();
  ServingReference reference;
  InputStatistics& statistics = reference.statistics;
  statistics = {.mean_F = moments.feature_mean_GF[0],
                .scale_F = moments.feature_scale_GF[0],
                .largest_token_rms = 0,
                .checkpoint = sha256_of_file(checkpoint)};
  for (const int64_t sequence : sent.split().train) {
    const at::Tensor rms_T = token_rms(statistics, sent.rows_TF(sequence));
    statistics.largest_token_rms =
        std::max(statistics.largest_token_rms, rms_T.max().item<double>());
  }
  for (const auto* part : {&sent.split().validation, &sent.split().test}) {
    for (const int64_t sequence : *part) {
      reference.drift_scores.push_back(drift_score(token_rms(statistics, sent.rows_TF(sequence))));
    }
  }
  std::sort(reference.drift_scores.begin(), reference.drift_scores.end());
  return reference;
}

nlohmann::json drift_reference_json(const ServingReference& reference) {
  return {{"schema", 1},
          {"checkpoint", reference.statistics.checkpoint},
          {"scores", reference.drift_scores}};
}

void save_input_statistics(const std::string& path, const InputStatistics& statistics) {
  write_safetensors(path, {{"mean", statistics.mean_F}, {"scale", statistics.scale_F}},
                    {{"input_statistics_version", kStatisticsVersion},
                     {"checkpoint", statistics.checkpoint},
                     {"largest_token_rms", nlohmann::json(statistics.largest_token_rms).dump()}});
}

InputStatistics load_input_statistics(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  const std::string version = statistics_entry(file, "input_statistics_version");
  if (version != kStatisticsVersion) {
    throw std::runtime_error(path + ": expected input statistics of version " + kStatisticsVersion +
                             ", got " + version + ". Measure them again");
  }
  InputStatistics statistics{.mean_F = statistics_vector(file, "mean"),
                             .scale_F = statistics_vector(file, "scale"),
                             .checkpoint = statistics_entry(file, "checkpoint")};
  const auto largest =
      nlohmann::json::parse(statistics_entry(file, "largest_token_rms"), nullptr, false);
  if (!largest.is_number() || !(largest.get<double>() > 0) ||
      statistics.mean_F.sizes() != statistics.scale_F.sizes() ||
      !statistics.scale_F.gt(0).all().item<bool>()) {
    throw std::runtime_error(path +
                             ": expected as many scales as means, all above 0, and a "
                             "largest_token_rms above 0. Measure them again");
  }
  statistics.largest_token_rms = largest.get<double>();
  return statistics;
}

}  // namespace kvalign
