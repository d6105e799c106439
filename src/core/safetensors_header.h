// The header of a safetensors file, checked against every rule of the format. Not a public header.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "kvalign/core/safetensors.h"

namespace kvalign {

struct SafetensorsHeader {
  int64_t data_start = 0;  // bytes from the start of the file
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
};

// `file` is the whole file, `path` its name for error texts. Errors: c10::Error.
SafetensorsHeader parse_safetensors_header(std::string_view file, const std::string& path);

}  // namespace kvalign
