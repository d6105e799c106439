// Tiny random decoders of tests/golden/decoder (made by tests/golden/make_decoders.py), and copies
// of them that a test may spoil.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"

namespace kvalign {

inline std::string golden_decoder(const std::string& name) {
  return KVALIGN_SOURCE_DIR "/tests/golden/decoder/" + name;
}

// A copy whose config.json was changed by `edit`. Returns its folder.
inline std::string edited_decoder(const TemporaryFolder& parent, const std::string& name,
                                  const std::function<void(nlohmann::json&)>& edit) {
  const std::string folder = parent.file(name);
  std::filesystem::copy(golden_decoder(name), folder, std::filesystem::copy_options::recursive);
  nlohmann::json config = nlohmann::json::parse(read_file(folder + "/config.json"));
  edit(config);
  std::ofstream(folder + "/config.json") << config.dump();
  return folder;
}

}  // namespace kvalign
