// Reads the tensors and metadata that token files and task files have in common, and checks them.
// Internal to dataset/.
//
// Shapes: T tokens packed over sequences, S sequences
#pragma once

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "kvalign/core/safetensors.h"
#include "kvalign/dataset/token_file.h"

namespace kvalign {

class TokenFileReader {
 public:
  static constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

  // `script` makes files of this kind, which have one more key in their metadata where `key` is not
  // empty.
  TokenFileReader(const std::filesystem::path& path, std::string script, std::string key = "");

  // What a token file holds.
  TokenFile read();

  // The value of `key`, and the opening of an error about it; after read().
  const nlohmann::json& value() const { return value_; }
  std::string value_name() const { return metadata_name() + ": " + key_; }

  // Opens an error about a tensor.
  std::string where(const std::string& tensor) const { return file_.path() + ": " + tensor + ": "; }

  // [length]; -1: any.
  at::Tensor vector_of(const std::string& name, at::ScalarType dtype, int64_t length);

  // From 0, below `end`.
  std::vector<int64_t> integers(const std::string& name, int64_t length, int64_t end);

  // int32 [T], from 0.
  at::Tensor ids(const std::string& name);

  // Where each of at least one part begins and the last one ends: [parts + 1], strictly rising.
  std::vector<int64_t> offsets(const std::string& name, int64_t num_tokens);

  // Refuses tensors that nothing has read.
  void check_nothing_else() const;

 private:
  std::string metadata_name() const { return file_.path() + ": metadata kvalign"; }
  void read_metadata(TokenFile& result);
  void read_side(TokenSide& side, const std::string& prefix);
  void check_sides(const TokenFile& file) const;

  SafetensorsFile file_;
  std::string script_, key_;
  nlohmann::json value_;
  std::set<std::string> known_;
};

}  // namespace kvalign
