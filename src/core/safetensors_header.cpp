// Parses and checks the header of a safetensors file. It trusts nothing: every number of the file
// is checked before it is used.
#include "safetensors_header.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "safetensors_dtype.h"

namespace kvalign {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr const char* kDamaged = ". The file is damaged or was cut short: copy or make it again";
constexpr const char* kBadWriter = ". Whatever wrote this file does not follow the format";
constexpr const char* kNotSafetensors = ". Is this a safetensors file?";

// Header JSON is object > entry > list; deeper nesting is an attack on the parser's memory.
constexpr size_t kMaximumDepth = 3;

// A value of the header in an error text: short, whatever the file holds.
std::string shown(const Json& json) {
  std::string text = json.dump();
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

// What opens the error texts of one tensor.
std::string at_tensor(const std::string& path, const std::string& name) {
  return path + ": tensor '" + name + "': ";
}

// The JSON text of the header, and where the data starts.
std::pair<std::string_view, int64_t> find_header(std::string_view file, const std::string& path) {
  TORCH_CHECK(file.size() >= 8, path, ": expected at least 8 bytes, got ", file.size(), kDamaged);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  TORCH_CHECK(length <= kMaximumSafetensorsHeader, path, ": header of ", length,
              " bytes, expected at most ", kMaximumSafetensorsHeader, kNotSafetensors);
  TORCH_CHECK(length <= file.size() - 8, path, ": the header should end at byte ", length + 8,
              ", the file has ", file.size(), " bytes", kDamaged);
  const std::string_view text = file.substr(8, length);
  TORCH_CHECK(text.substr(0, 1) == "{", path, ": expected the header to start with '{'",
              kNotSafetensors);
  // nlohmann takes a NUL for the end of its input and would not see what follows.
  TORCH_CHECK(text.find('\0') == std::string_view::npos, path, ": the header holds a NUL byte",
              kDamaged);
  return {text, static_cast<int64_t>(length + 8)};
}

// nlohmann keeps the last of several equal keys; the format forbids them.
Json parse_json(std::string_view text, const std::string& path) {
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  size_t depth = 0;
  const auto check = [&](int, Json::parse_event_t event, Json& value) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      TORCH_CHECK(++depth <= kMaximumDepth, path, ": the header is nested more than ",
                  kMaximumDepth, " levels deep", kBadWriter);
    }
    if (event == Event::object_end || event == Event::array_end) --depth;
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key) {
      TORCH_CHECK(keys.back().insert(value.get<std::string>()).second, path, ": the header names ",
                  shown(value), " twice", kBadWriter);
    }
    return true;
  };
  Json json;
  try {
    json = Json::parse(text, check);
  } catch (const Json::exception& error) {
    TORCH_CHECK(false, path, ": the header is not valid JSON: ", error.what(), kDamaged);
  }
  return json;
}

std::map<std::string, std::string> parse_metadata(const Json& json, const std::string& path) {
  TORCH_CHECK(json.is_object(), path, ": expected __metadata__ to be an object, got ", shown(json),
              kBadWriter);
  std::map<std::string, std::string> metadata;
  for (const auto& entry : json.items()) {
    TORCH_CHECK(entry.value().is_string(), path, ": expected metadata '", entry.key(),
                "' to be a string, got ", shown(entry.value()), kBadWriter);
    metadata[entry.key()] = entry.value().get<std::string>();
  }
  return metadata;
}

const SafetensorsDtype& parse_dtype(const Json& json, const std::string& where) {
  std::string known;
  const SafetensorsDtype* found = nullptr;
  for (const SafetensorsDtype& row : kSafetensorsDtypes) {
    if (json.is_string() && json.get_ref<const std::string&>() == row.name) found = &row;
    known.append(known.empty() ? "" : ", ").append(row.name);
  }
  TORCH_CHECK(found != nullptr, where, "unknown dtype ", shown(json), "; known: ", known);
  return *found;
}

// A size or offset; negative, fractional and huge numbers are refused.
int64_t parse_size(const Json& json, const std::string& where, const char* what) {
  TORCH_CHECK(json.is_number_unsigned() && json.get<uint64_t>() <= INT64_MAX, where, "expected ",
              what, " of integers of 0 to 2^63 - 1, got ", shown(json), kBadWriter);
  return json.get<int64_t>();
}

// Bytes of a tensor. Empty dimensions count as 1 for the overflow check: strides are computed so.
int64_t checked_bytes(const std::vector<int64_t>& shape, int64_t element_size,
                      const std::string& where) {
  int64_t bytes = element_size;
  bool empty = false;
  for (const int64_t size : shape) {
    TORCH_CHECK(!__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes), where,
                "the shape ", shown(Json(shape)), " overflows 64 bits", kBadWriter);
    empty = empty || size == 0;
  }
  return empty ? 0 : bytes;
}

TensorInfo parse_tensor(const Json& json, int64_t data_size, const std::string& where) {
  TORCH_CHECK(json.is_object(), where, "expected an object, got ", shown(json), kBadWriter);
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    TORCH_CHECK(json.contains(field), where, "the field ", field, " is missing", kBadWriter);
  }
  for (const auto& field : json.items()) {
    TORCH_CHECK(field.key() == "dtype" || field.key() == "shape" || field.key() == "data_offsets",
                where, "unknown field '", field.key(), "'; known: dtype, shape, data_offsets");
  }
  const SafetensorsDtype& dtype = parse_dtype(json["dtype"], where);
  TensorInfo info;
  info.dtype = dtype.dtype;
  const Json& shape = json["shape"];
  TORCH_CHECK(shape.is_array(), where, "expected a list as shape, got ", shown(shape), kBadWriter);
  for (const Json& size : shape) info.shape.push_back(parse_size(size, where, "a shape"));

  const Json& offsets = json["data_offsets"];
  TORCH_CHECK(offsets.is_array() && offsets.size() == 2, where,
              "expected data_offsets to be two integers, got ", shown(offsets), kBadWriter);
  info.begin = parse_size(offsets[0], where, "data_offsets");
  info.end = parse_size(offsets[1], where, "data_offsets");
  TORCH_CHECK(info.begin <= info.end, where, "data_offsets begin after they end: ", shown(offsets),
              kBadWriter);
  const int64_t bytes = checked_bytes(info.shape, dtype.size, where);
  TORCH_CHECK(bytes == info.end - info.begin, where, "expected ", bytes, " bytes for shape ",
              shown(shape), " of ", dtype.name, ", got ", info.end - info.begin, " (data_offsets ",
              shown(offsets), ")", kBadWriter);
  TORCH_CHECK(info.end <= data_size, where, "data_offsets end at byte ", info.end,
              " of the data, the file has ", data_size, kDamaged);
  return info;
}

// The tensors cover the data section from its first to its last byte, each byte once.
void check_coverage(const std::map<std::string, TensorInfo>& tensors, int64_t data_size,
                    const std::string& path) {
  std::vector<std::pair<std::string, TensorInfo>> in_order(tensors.begin(), tensors.end());
  std::sort(in_order.begin(), in_order.end(), [](const auto& left, const auto& right) {
    return std::pair(left.second.begin, left.second.end) <
           std::pair(right.second.begin, right.second.end);
  });
  int64_t position = 0;
  for (const auto& [name, info] : in_order) {
    TORCH_CHECK(info.begin >= position, at_tensor(path, name), "starts at byte ", info.begin,
                " of the data and overlaps a tensor that ends at ", position, kBadWriter);
    TORCH_CHECK(info.begin == position, at_tensor(path, name), "starts at byte ", info.begin,
                " of the data and leaves a hole after byte ", position, kBadWriter);
    position = info.end;
  }
  TORCH_CHECK(position == data_size, path, ": the tensors end at byte ", position,
              " of the data, but ", data_size - position, " bytes follow", kBadWriter);
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view file, const std::string& path) {
  const auto [text, data_start] = find_header(file, path);
  const int64_t data_size = static_cast<int64_t>(file.size()) - data_start;
  SafetensorsHeader header;
  header.data_start = data_start;
  const Json json = parse_json(text, path);
  for (const auto& entry : json.items()) {
    if (entry.key() == "__metadata__") {
      header.metadata = parse_metadata(entry.value(), path);
    } else {
      header.tensors[entry.key()] =
          parse_tensor(entry.value(), data_size, at_tensor(path, entry.key()));
    }
  }
  check_coverage(header.tensors, data_size, path);
  return header;
}

}  // namespace kvalign
