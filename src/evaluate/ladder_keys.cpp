// Hashes of files and weights. See ladder_keys.h.
#include "ladder_keys.h"

#include <c10/util/StringUtil.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "kvalign/core/files.h"
#include "kvalign/core/sha256.h"

namespace kvalign {
namespace {

// Config, and which weights by their size and age: reading gigabytes for a hash would take longer
// than a text does.
nlohmann::json describe_model(const std::filesystem::path& folder) {
  nlohmann::json files = nlohmann::json::object();
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    files[entry.path().filename().string()] = {entry.file_size(),
                                               entry.last_write_time().time_since_epoch().count()};
  }
  return {{"config", sha256_of_file((folder / "config.json").string())}, {"weights", files}};
}

}  // namespace

nlohmann::json describe_setup(const LadderSetup& setup) {
  return {{"tokens", setup.tokens_sha256},
          {"dataset", setup.dataset->sha256()},
          {"split", setup.split.sha256},
          {"sender", describe_model(setup.sender.folder())},
          {"receiver", describe_model(setup.receiver.folder())},
          {"seed", setup.evaluate.seed},
          {"device", setup.device.str()}};
}

std::vector<std::string> row_keys(const LadderSetup& setup,
                                  const std::vector<LadderRowPlan>& plans) {
  std::vector<std::string> projectors, keys;
  for (const Row& row : setup.projectors) {
    projectors.push_back(row.checkpoint.empty() ? row.name : sha256_of_file(row.checkpoint));
    if (row.rank > 0) projectors.back() += " rank " + std::to_string(row.rank);
    if (row.fp8_wire) projectors.back() += " through " + row.wire;
  }
  for (const LadderRowPlan& plan : plans) {
    std::string key =
        c10::str(plan.info.row, ", sinks ", plan.info.sinks, ", reread ", plan.info.reread);
    if (is_projected(plan.source) || is_compressed(plan.source))
      key += ", of " + projectors[plan.projector];
    keys.push_back(std::move(key));
  }
  return keys;
}

}  // namespace kvalign
