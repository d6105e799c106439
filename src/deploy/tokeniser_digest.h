// The digest by which a dataset knows a tokeniser: that of the capture's scripts. Private to
// deploy/.
#pragma once

#include <filesystem>
#include <string>

namespace kvalign {

/// SHA-256 of `folder`/tokenizer.json without padding and truncation, as Python's json.dumps writes
/// it with sorted keys. Throws std::runtime_error where the file is missing or no JSON.
std::string tokeniser_digest(const std::filesystem::path& folder);

}  // namespace kvalign
