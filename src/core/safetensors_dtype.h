// The dtypes that the safetensors format and LibTorch both have. Not a public header.
#pragma once

#include <c10/core/ScalarType.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace kvalign {

struct SafetensorsDtype {
  std::string_view name;
  at::ScalarType dtype;
  int64_t size;  // bytes an element, and its alignment
};

// In the official package's order, whose reverse is the order of tensors in a file: by falling
// alignment, so that every tensor stays aligned.
inline constexpr std::array<SafetensorsDtype, 15> kSafetensorsDtypes{{
    {"BOOL", at::kBool, 1},
    {"U8", at::kByte, 1},
    {"I8", at::kChar, 1},
    {"F8_E5M2", at::kFloat8_e5m2, 1},
    {"F8_E4M3", at::kFloat8_e4m3fn, 1},
    {"I16", at::kShort, 2},
    {"U16", at::kUInt16, 2},
    {"F16", at::kHalf, 2},
    {"BF16", at::kBFloat16, 2},
    {"I32", at::kInt, 4},
    {"U32", at::kUInt32, 4},
    {"F32", at::kFloat, 4},
    {"F64", at::kDouble, 8},
    {"I64", at::kLong, 8},
    {"U64", at::kUInt64, 8},
}};

// The longest header that readers accept, in bytes: the official package's MAX_HEADER_SIZE.
inline constexpr uint64_t kMaximumSafetensorsHeader = 100'000'000;

}  // namespace kvalign
