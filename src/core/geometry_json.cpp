// Strict JSON of KvGeometry.
#include "kvalign/core/geometry_json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace kvalign {
namespace {

using Json = nlohmann::json;

// Far above any model, and small enough for products of three of them to fit 64 bits.
constexpr int64_t kMaximumSize = 1 << 20;

constexpr std::array<std::pair<RopePairing, std::string_view>, 2> kPairings{
    {{RopePairing::kHalf, "half"}, {RopePairing::kInterleaved, "interleaved"}}};
constexpr std::array<std::pair<RopeScalingType, std::string_view>, 3> kScalings{
    {{RopeScalingType::kDefault, "default"},
     {RopeScalingType::kLinear, "linear"},
     {RopeScalingType::kLlama3, "llama3"}}};

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw std::invalid_argument(where + ": " + what);
}

void require(bool condition, const std::string& where, const std::string& what) {
  if (!condition) fail(where, what);
}

template <class Enum, size_t count>
std::string name_of(Enum value, const std::array<std::pair<Enum, std::string_view>, count>& table) {
  const auto is_value = [&](const auto& row) { return row.first == value; };
  return std::string(std::find_if(table.begin(), table.end(), is_value)->second);
}

// An object whose keys are exactly `keys`; members are read with a check of their type.
class StrictObject {
 public:
  StrictObject(const Json& json, std::string where, const std::vector<std::string>& keys)
      : json_(json), where_(std::move(where)) {
    require(json.is_object(), where_, "expected an object, got " + json.dump());
    std::string known;
    for (const std::string& key : keys) known += (known.empty() ? "" : ", ") + key;
    for (const auto& member : json.items()) {
      require(std::find(keys.begin(), keys.end(), member.key()) != keys.end(), where_,
              "unknown entry '" + member.key() + "'; known: " + known);
    }
    for (const std::string& key : keys) {
      require(json.contains(key), where_, "entry '" + key + "' is missing; expected: " + known);
    }
  }

  const Json& at(const char* key) const { return json_.at(key); }

  std::string text(const char* key) const {
    require(at(key).is_string(), entry(key), "expected a string, got " + at(key).dump());
    return at(key).get<std::string>();
  }

  int64_t integer(const char* key) const { return to_integer(at(key), entry(key)); }

  double number(const char* key) const {
    require(at(key).is_number(), entry(key), "expected a number, got " + at(key).dump());
    return at(key).get<double>();
  }

  std::vector<int64_t> integers(const char* key) const {
    require(at(key).is_array(), entry(key), "expected a list of integers, got " + at(key).dump());
    std::vector<int64_t> values;
    for (const Json& element : at(key)) values.push_back(to_integer(element, entry(key)));
    return values;
  }

  template <class Enum, size_t count>
  Enum one_of(const char* key,
              const std::array<std::pair<Enum, std::string_view>, count>& table) const {
    const std::string name = text(key);
    std::string known;
    for (const auto& [value, known_name] : table) {
      if (name == known_name) return value;
      known.append(known.empty() ? "" : ", ").append(known_name);
    }
    fail(entry(key), "expected one of " + known + ", got '" + name + "'");
  }

  std::string entry(const char* key) const { return where_ + "." + key; }

 private:
  static int64_t to_integer(const Json& json, const std::string& where) {
    // Above 2^63 nlohmann keeps an unsigned number, which get<int64_t> would wrap.
    const bool fits = json.is_number_integer() &&
                      (!json.is_number_unsigned() || json.get<uint64_t>() <= INT64_MAX);
    require(fits, where, "expected an integer, got " + json.dump());
    return json.get<int64_t>();
  }

  const Json& json_;
  std::string where_;
};

Json scaling_to_json(const RopeScaling& scaling) {
  Json json{{"type", name_of(scaling.type, kScalings)}};
  if (scaling.type == RopeScalingType::kDefault) return json;
  json["factor"] = scaling.factor;
  if (scaling.type == RopeScalingType::kLinear) return json;
  json["low_freq_factor"] = scaling.low_freq_factor;
  json["high_freq_factor"] = scaling.high_freq_factor;
  json["original_max_position_embeddings"] = scaling.original_max_position_embeddings;
  return json;
}

RopeScaling scaling_from_json(const Json& json, const std::string& where) {
  require(json.is_object() && json.contains("type"), where,
          "expected an object with the entry 'type', got " + json.dump());
  std::vector<std::string> keys{"type"};
  RopeScaling scaling;
  scaling.type = StrictObject({{"type", json["type"]}}, where, keys).one_of("type", kScalings);
  if (scaling.type != RopeScalingType::kDefault) keys.push_back("factor");
  if (scaling.type == RopeScalingType::kLlama3) {
    keys.insert(keys.end(),
                {"low_freq_factor", "high_freq_factor", "original_max_position_embeddings"});
  }
  const StrictObject object(json, where, keys);
  if (scaling.type != RopeScalingType::kDefault) scaling.factor = object.number("factor");
  if (scaling.type == RopeScalingType::kLlama3) {
    scaling.low_freq_factor = object.number("low_freq_factor");
    scaling.high_freq_factor = object.number("high_freq_factor");
    scaling.original_max_position_embeddings = object.integer("original_max_position_embeddings");
  }
  return scaling;
}

RopeOptions rope_from_json(const Json& json, const std::string& where) {
  const StrictObject object(json, where, {"theta", "pairing", "rotary_dim", "scaling"});
  RopeOptions rope;
  rope.theta = object.number("theta");
  rope.pairing = object.one_of("pairing", kPairings);
  rope.rotary_dim = object.integer("rotary_dim");
  rope.scaling = scaling_from_json(object.at("scaling"), object.entry("scaling"));
  return rope;
}

void check_scaling(const RopeScaling& scaling, const std::string& where) {
  require(std::isfinite(scaling.factor) && scaling.factor > 0, where + ".factor",
          "expected a positive number, got " + std::to_string(scaling.factor));
  if (scaling.type == RopeScalingType::kLlama3) {
    require(std::isfinite(scaling.high_freq_factor) && scaling.low_freq_factor > 0 &&
                scaling.high_freq_factor > scaling.low_freq_factor,
            where,
            "expected 0 < low_freq_factor < high_freq_factor, got " +
                std::to_string(scaling.low_freq_factor) + " and " +
                std::to_string(scaling.high_freq_factor));
    require(scaling.original_max_position_embeddings > 0,
            where + ".original_max_position_embeddings",
            "expected a positive number of tokens, got " +
                std::to_string(scaling.original_max_position_embeddings));
    return;
  }
  RopeScaling written{.type = scaling.type};
  if (scaling.type == RopeScalingType::kLinear) written.factor = scaling.factor;
  require(scaling == written, where,
          "scaling '" + name_of(scaling.type, kScalings) +
              "' does not use every factor that is set; leave the others at their defaults");
}

void check_size(int64_t size, const std::string& where) {
  require(size >= 1 && size <= kMaximumSize, where,
          "expected 1 to " + std::to_string(kMaximumSize) + ", got " + std::to_string(size));
}

}  // namespace

void check_geometry(const KvGeometry& geometry, const std::string& where) {
  check_size(geometry.num_layers, where + ".num_layers");
  check_size(geometry.num_kv_heads, where + ".num_kv_heads");
  check_size(geometry.head_dim, where + ".head_dim");
  if (geometry.rope) {
    const RopeOptions& rope = *geometry.rope;
    require(std::isfinite(rope.theta) && rope.theta > 0, where + ".rope.theta",
            "expected a positive number, got " + std::to_string(rope.theta));
    require(
        rope.rotary_dim >= 2 && rope.rotary_dim % 2 == 0 && rope.rotary_dim <= geometry.head_dim,
        where + ".rope.rotary_dim",
        "expected an even number of 2 to head_dim " + std::to_string(geometry.head_dim) + ", got " +
            std::to_string(rope.rotary_dim));
    check_scaling(rope.scaling, where + ".rope.scaling");
  }
  require(geometry.sliding_window >= 0, where + ".sliding_window",
          "expected at least 0, got " + std::to_string(geometry.sliding_window));
  const std::vector<int64_t>& layers = geometry.sliding_window_layers;
  require((geometry.sliding_window > 0) == !layers.empty(), where + ".sliding_window_layers",
          "expected layers exactly where sliding_window is set (" +
              std::to_string(geometry.sliding_window) + "), got " + Json(layers).dump());
  const bool ascending =
      std::adjacent_find(layers.begin(), layers.end(), std::greater_equal<>()) == layers.end();
  require(
      ascending && (layers.empty() || (layers.front() >= 0 && layers.back() < geometry.num_layers)),
      where + ".sliding_window_layers",
      "expected ascending layers of 0 .. " + std::to_string(geometry.num_layers - 1) + ", got " +
          Json(layers).dump());
}

Json to_json(const KvGeometry& geometry) {
  check_geometry(geometry, "geometry of " + geometry.model);
  Json rope;  // null
  if (geometry.rope) {
    rope = {{"theta", geometry.rope->theta},
            {"pairing", name_of(geometry.rope->pairing, kPairings)},
            {"rotary_dim", geometry.rope->rotary_dim},
            {"scaling", scaling_to_json(geometry.rope->scaling)}};
  }
  return {{"model", geometry.model},
          {"num_layers", geometry.num_layers},
          {"num_kv_heads", geometry.num_kv_heads},
          {"head_dim", geometry.head_dim},
          {"rope", rope},
          {"sliding_window", geometry.sliding_window},
          {"sliding_window_layers", geometry.sliding_window_layers}};
}

KvGeometry geometry_from_json(const Json& json, const std::string& where) {
  const StrictObject object(json, where,
                            {"model", "num_layers", "num_kv_heads", "head_dim", "rope",
                             "sliding_window", "sliding_window_layers"});
  KvGeometry geometry;
  geometry.model = object.text("model");
  geometry.num_layers = object.integer("num_layers");
  geometry.num_kv_heads = object.integer("num_kv_heads");
  geometry.head_dim = object.integer("head_dim");
  if (!object.at("rope").is_null()) {
    geometry.rope = rope_from_json(object.at("rope"), object.entry("rope"));
  }
  geometry.sliding_window = object.integer("sliding_window");
  geometry.sliding_window_layers = object.integers("sliding_window_layers");
  check_geometry(geometry, where);
  return geometry;
}

}  // namespace kvalign
