// The record of an unfinished capture: which shards of which plan are done. In a file of its own
// until index.json, written last, holds the same. Internal to dataset/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "kvalign/dataset/dataset_index.h"

namespace kvalign {

inline constexpr const char* kProgressFile = "capture-progress.json";

using ShardsByNumber = std::map<int64_t, ShardEntry>;

/// The shards that the record or, where there is none, index.json lists; their files are not looked
/// at. Throws std::invalid_argument for a capture of another plan, for shards that neither file
/// lists, and for a record that is none.
ShardsByNumber read_progress(const std::filesystem::path& folder, const std::string& plan);
void record_progress(const std::filesystem::path& folder, const std::string& plan,
                     const ShardsByNumber& shards);

/// Deletes the temporary files that a killed process left.
void remove_leftovers(const std::filesystem::path& folder);

/// The JSON object `source` (empty: none) with the plan in it.
std::string with_plan(const std::string& source, const std::string& plan);

}  // namespace kvalign
