// Geometries survive JSON, and every way in which an entry can be wrong is named.
#include "kvalign/core/geometry_json.h"

#include <nlohmann/json.hpp>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

using Json = nlohmann::json;

KvGeometry windowed_llama() {
  KvGeometry geometry;
  geometry.model = "llama";
  geometry.num_layers = 4;
  geometry.num_kv_heads = 8;
  geometry.head_dim = 128;
  geometry.rope = RopeOptions{.theta = 500000.1,
                              .pairing = RopePairing::kHalf,
                              .rotary_dim = 128,
                              .scaling = {RopeScalingType::kLlama3, 8.0, 1.0, 4.0, 8192}};
  geometry.sliding_window = 4096;
  geometry.sliding_window_layers = {1, 3};
  return geometry;
}

KvGeometry read(const Json& json) {
  return geometry_from_json(json, "index.json: sender");
}

// The JSON of a good geometry with one entry replaced.
Json with(const char* pointer, const Json& value) {
  Json json = to_json(windowed_llama());
  json[Json::json_pointer(pointer)] = value;
  return json;
}

TEST(GeometryJson, SurvivesTheRoundTrip) {
  KvGeometry geometry = windowed_llama();
  EXPECT_EQ(read(Json::parse(to_json(geometry).dump())), geometry);
  geometry.rope->pairing = RopePairing::kInterleaved;
  geometry.rope->scaling = RopeScaling{.type = RopeScalingType::kLinear, .factor = 4.0};
  EXPECT_EQ(read(to_json(geometry)), geometry);
  geometry.rope->scaling = RopeScaling{};
  EXPECT_EQ(read(to_json(geometry)), geometry);
  geometry.rope.reset();
  geometry.sliding_window = 0;
  geometry.sliding_window_layers.clear();
  EXPECT_EQ(read(to_json(geometry)), geometry);
}

TEST(GeometryJson, HasTheDocumentedForm) {
  EXPECT_EQ(to_json(windowed_llama()), Json::parse(R"({
    "model": "llama", "num_layers": 4, "num_kv_heads": 8, "head_dim": 128,
    "rope": {"theta": 500000.1, "pairing": "half", "rotary_dim": 128,
             "scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}},
    "sliding_window": 4096, "sliding_window_layers": [1, 3]})"));
}

TEST(GeometryJson, NamesUnknownAndMissingEntries) {
  EXPECT_THROWS_WITH(read(with("/heads", 3)),
                     "index.json: sender: unknown entry 'heads'; known: model, num_layers");
  EXPECT_THROWS_WITH(read(with("/rope/base", 3)),
                     "index.json: sender.rope: unknown entry 'base'; known: theta, pairing");
  EXPECT_THROWS_WITH(read(with("/rope/scaling/beta", 3)),
                     "index.json: sender.rope.scaling: unknown entry 'beta'; known: type, factor");
  EXPECT_THROWS_WITH(read(with("/rope/scaling", {{"type", "linear"}})),
                     "sender.rope.scaling: entry 'factor' is missing; expected: type, factor");
  EXPECT_THROWS_WITH(read(with("/rope/scaling", Json::object())),
                     "sender.rope.scaling: expected an object with the entry 'type', got {}");
  Json json = to_json(windowed_llama());
  json.erase("rope");
  EXPECT_THROWS_WITH(read(json), "sender: entry 'rope' is missing; expected: model, num_layers");
}

TEST(GeometryJson, NamesEntriesOfAWrongType) {
  EXPECT_THROWS_WITH(read(Json(3)), "index.json: sender: expected an object, got 3");
  EXPECT_THROWS_WITH(read(with("/model", 3)), "sender.model: expected a string, got 3");
  EXPECT_THROWS_WITH(read(with("/num_layers", 2.0)), "num_layers: expected an integer, got 2.0");
  EXPECT_THROWS_WITH(read(with("/num_layers", UINT64_MAX)), "num_layers: expected an integer, got");
  EXPECT_THROWS_WITH(read(with("/rope/theta", "1e6")),
                     "rope.theta: expected a number, got \"1e6\"");
  EXPECT_THROWS_WITH(read(with("/sliding_window_layers", 1)),
                     "sliding_window_layers: expected a list of integers, got 1");
  EXPECT_THROWS_WITH(read(with("/sliding_window_layers", {"1"})), "expected an integer, got \"1\"");
}

TEST(GeometryJson, ListsTheKnownWords) {
  EXPECT_THROWS_WITH(read(with("/rope/pairing", "odd")),
                     "sender.rope.pairing: expected one of half, interleaved, got 'odd'");
  EXPECT_THROWS_WITH(read(with("/rope/scaling", {{"type", "yarn"}})),
                     "rope.scaling.type: expected one of default, linear, llama3, got 'yarn'");
}

TEST(GeometryJson, RefusesWhatNoModelHas) {
  EXPECT_THROWS_WITH(read(with("/num_layers", 0)),
                     "sender.num_layers: expected 1 to 1048576, got 0");
  EXPECT_THROWS_WITH(read(with("/num_kv_heads", -2)),
                     "num_kv_heads: expected 1 to 1048576, got -2");
  EXPECT_THROWS_WITH(read(with("/head_dim", 1 << 21)),
                     "head_dim: expected 1 to 1048576, got 2097152");
  EXPECT_THROWS_WITH(read(with("/rope/theta", 0)), "rope.theta: expected a positive number, got 0");
  for (const int dim : {0, 63, 130}) {
    EXPECT_THROWS_WITH(read(with("/rope/rotary_dim", dim)),
                       "rotary_dim: expected an even number of 2 to head_dim 128, got ");
  }
  EXPECT_THROWS_WITH(read(with("/rope/scaling/factor", -1)), "factor: expected a positive number");
  EXPECT_THROWS_WITH(read(with("/rope/scaling/high_freq_factor", 1)),
                     "expected 0 < low_freq_factor < high_freq_factor, got 1.000000 and 1.000000");
  EXPECT_THROWS_WITH(
      read(with("/rope/scaling/original_max_position_embeddings", 0)),
      "original_max_position_embeddings: expected a positive number of tokens, got 0");
}

TEST(GeometryJson, RefusesWindowsThatMakeNoSense) {
  EXPECT_THROWS_WITH(read(with("/sliding_window", -1)),
                     "sliding_window: expected at least 0, got -1");
  EXPECT_THROWS_WITH(read(with("/sliding_window", 0)),
                     "expected layers exactly where sliding_window is set (0), got [1,3]");
  EXPECT_THROWS_WITH(read(with("/sliding_window_layers", Json::array())), "is set (4096), got []");
  for (const Json& layers : {Json{3, 1}, Json{1, 1}, Json{-1, 2}, Json{2, 4}}) {
    EXPECT_THROWS_WITH(read(with("/sliding_window_layers", layers)),
                       "expected ascending layers of 0 .. 3, got ");
  }
}

TEST(GeometryJson, WritesOnlyWhatItCanRead) {
  KvGeometry geometry = windowed_llama();
  geometry.rope->scaling.type = RopeScalingType::kLinear;  // keeps the factors of llama3
  EXPECT_THROWS_WITH(to_json(geometry),
                     "geometry of llama.rope.scaling: scaling 'linear' does not "
                     "use every factor that is set");
  geometry.head_dim = 0;
  EXPECT_THROWS_WITH(to_json(geometry), "geometry of llama.head_dim: expected 1 to");
}

}  // namespace
}  // namespace kvalign
