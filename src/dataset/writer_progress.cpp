// Reading and writing the record of an unfinished capture.
#include "writer_progress.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "kvalign/core/files.h"
#include "shard_entry_json.h"
#include "strict_json.h"

namespace kvalign {
namespace {

constexpr const char* kPlanKey = "plan";

void check_plan(const nlohmann::json& json, const std::string& plan,
                const std::filesystem::path& folder) {
  if (json.is_object() && json.value(kPlanKey, nlohmann::json()) == plan) return;
  refuse(folder.string(),
         "holds a capture of other models, tokens or options. Repeat its command to go on with it, "
         "or give another folder.");
}

bool has_shards(const std::filesystem::path& folder) {
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().filename().string().starts_with("pairs-")) return true;
  }
  return false;
}

ShardsByNumber shards_of_record(const std::filesystem::path& folder, const std::string& plan) {
  const std::string path = (folder / kProgressFile).string();
  const nlohmann::json json = nlohmann::json::parse(read_file(path), nullptr, false);
  const StrictObject object(json, path, {kPlanKey, "shards"});
  const nlohmann::json& shards = object.at("shards");
  if (!shards.is_object()) {
    refuse(object.path("shards"), "expected an object, got " + short_text(shards));
  }
  ShardsByNumber result;
  if (shards.empty()) return result;  // whatever its plan was, nothing was done of it
  check_plan(json, plan, folder);
  for (const auto& [number, shard] : shards.items()) {
    const std::string where = object.path("shards") + ": " + number;
    if (number.empty() || number.size() > 9 ||
        number.find_first_not_of("0123456789") != std::string::npos) {
      refuse(where, "expected the number of a shard");
    }
    result.emplace(std::stoll(number), shard_from_json(shard, where));
  }
  return result;
}

}  // namespace

ShardsByNumber read_progress(const std::filesystem::path& folder, const std::string& plan) {
  if (std::filesystem::exists(folder / kProgressFile)) return shards_of_record(folder, plan);
  if (std::filesystem::exists(folder / "index.json")) {
    const DatasetIndex index = read_index(folder);
    check_plan(nlohmann::json::parse(index.source, nullptr, false), plan, folder);
    ShardsByNumber result;
    for (size_t i = 0; i < index.shards.size(); ++i) {
      result.emplace(static_cast<int64_t>(i), index.shards[i]);
    }
    return result;
  }
  if (has_shards(folder)) {
    refuse(folder.string(), std::string("holds shards, but neither index.json nor ") +
                                kProgressFile + ". Give an empty folder.");
  }
  return {};
}

void record_progress(const std::filesystem::path& folder, const std::string& plan,
                     const ShardsByNumber& shards) {
  nlohmann::json entries = nlohmann::json::object();
  for (const auto& [number, shard] : shards) entries[std::to_string(number)] = to_json(shard);
  const nlohmann::json json = {{kPlanKey, plan}, {"shards", std::move(entries)}};
  write_file_atomically((folder / kProgressFile).string(), json.dump(2) + "\n");
}

void remove_leftovers(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> leftovers;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const std::string name = file.path().filename().string();
    const bool is_ours = name.starts_with("pairs-") || name.starts_with("index.json") ||
                         name.starts_with(kProgressFile);
    if (is_ours && name.find(".tmp-") != std::string::npos) leftovers.push_back(file.path());
  }
  for (const auto& path : leftovers) std::filesystem::remove(path);
}

std::string with_plan(const std::string& source, const std::string& plan) {
  nlohmann::json json = source.empty() ? nlohmann::json::object() : nlohmann::json::parse(source);
  json[kPlanKey] = plan;
  return json.dump();
}

}  // namespace kvalign
