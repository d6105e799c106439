// Reads every byte of a dataset and lists what is wrong with it.
#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "kvalign/core/sha256.h"
#include "kvalign/dataset/summary.h"
#include "shard.h"

namespace kvalign {
namespace {

/// Runs one check; what it throws becomes a problem. True if it passed.
template <class Check>
bool passes(std::vector<std::string>& problems, Check check) {
  try {
    check();
    return true;
  } catch (const c10::Error& error) {
    problems.emplace_back(error.what_without_backtrace());
  } catch (const std::exception& error) {
    problems.emplace_back(error.what());
  }
  return false;
}

/// The first value of each stream that is not finite.
void scan(const Shard& shard, int64_t first_sequence, std::vector<std::string>& problems) {
  std::vector<float> rows;
  const auto scan_side = [&](const std::vector<StoredStream>& streams,
                             const std::vector<int64_t>& offsets) {
    for (const StoredStream& stream : streams)
      for (size_t i = 0; i + 1 < offsets.size(); ++i) {
        const int64_t count = offsets[i + 1] - offsets[i];
        rows.resize(static_cast<size_t>(count * stream.cache.size(1)));
        const int64_t bad = copy_rows(stream.cache, offsets[i], count, rows.data());
        if (bad >= 0) {
          problems.push_back(
              c10::str(shard.file.path(), ": ", stream.name, ": ",
                       non_finite_text(stream, first_sequence + static_cast<int64_t>(i), bad)));
          break;
        }
      }
  };
  scan_side(shard.sender_Ud, shard.sender_offsets);
  scan_side(shard.receiver_TD, shard.sequence_offsets);
}

}  // namespace

DatasetVerification verify_dataset(const std::filesystem::path& folder,
                                   const std::function<void(int64_t, int64_t)>& on_shard) {
  DatasetVerification result;
  DatasetIndex index;
  if (!passes(result.problems, [&] { index = read_index(folder); })) return result;
  int64_t first_sequence = 0;
  for (const ShardEntry& entry : index.shards) {
    const std::filesystem::path path = folder / entry.file;
    if (std::filesystem::exists(path)) {
      passes(result.problems, [&] {
        const std::string sha256 = sha256_of_file(path.string());
        TORCH_CHECK(sha256 == entry.sha256, path.string(), ": checksum: expected ", entry.sha256,
                    " by index.json, got ", sha256,
                    ". The file was changed or damaged: copy or capture it again.");
      });
      result.bytes_checked += static_cast<int64_t>(std::filesystem::file_size(path));
    }
    passes(result.problems,
           [&] { scan(open_shard(folder, index, entry), first_sequence, result.problems); });
    first_sequence += entry.num_sequences;
    ++result.shards_checked;
    if (on_shard) on_shard(result.shards_checked, static_cast<int64_t>(index.shards.size()));
  }
  // Only opening all shards together shows what differs between them.
  if (result.sound()) passes(result.problems, [&] { PairedDataset::open(folder); });
  return result;
}

nlohmann::json to_json(const DatasetVerification& verification) {
  return {{"sound", verification.sound()},
          {"problems", verification.problems},
          {"shards_checked", verification.shards_checked},
          {"bytes_checked", verification.bytes_checked}};
}

std::string to_text(const DatasetVerification& verification) {
  std::ostringstream text;
  for (const std::string& problem : verification.problems) text << "problem  " << problem << "\n";
  text << (verification.sound() ? "sound" : "NOT SOUND") << ": " << verification.shards_checked
       << " shards, " << verification.bytes_checked << " bytes, " << verification.problems.size()
       << " problems\n";
  return text.str();
}

}  // namespace kvalign
