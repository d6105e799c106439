// index.json: what is written reads back, and each way to be wrong is refused by name.
#include "kvalign/dataset/dataset_index.h"

#include <gtest/gtest.h>

#include "small_dataset.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(DatasetIndex, ReadsBackWhatWasWritten) {
  for (const GeneratorOptions& options : {small_flat(), small_layers()}) {
    const SmallDataset dataset(options);
    const DatasetIndex index = read_index(dataset.folder);
    EXPECT_EQ(index_from_json(to_json(index), "index"), index);
    EXPECT_EQ(index.num_sequences, 12);
    EXPECT_EQ(index.num_tokens, 84);
    EXPECT_EQ(index.shards.size(), 3u);
    EXPECT_EQ(index.shards[2].num_sequences, 2);
    EXPECT_NE(index.source.find("\"generator\""), std::string::npos);
  }
}

TEST(DatasetIndex, KeepsDocumentHashes) {
  const SmallDataset dataset;
  const std::vector<std::string> documents = {std::string(64, '0'), std::string(64, 'f')};
  dataset.edit_index([&](auto& json) { json["documents"] = documents; });
  const DatasetIndex index = read_index(dataset.folder);
  EXPECT_EQ(index.documents, documents);
  EXPECT_EQ(index_from_json(to_json(index), "index"), index);
}

TEST(DatasetIndex, NamesShardsAndStreams) {
  EXPECT_EQ(shard_file_name(1, 4), "pairs-00002-of-00004.safetensors");
  KvGeometry geometry;
  geometry.num_layers = 2;
  EXPECT_EQ(stream_names(DatasetLayout::kLayers, geometry),
            (std::vector<std::string>{"keys.0", "keys.1", "values.0", "values.1"}));
  EXPECT_EQ(stream_names(DatasetLayout::kFlat, geometry), std::vector<std::string>{"cache"});
}

TEST(DatasetIndex, RefusesAMissingOrBrokenFile) {
  const TemporaryFolder folder;
  EXPECT_THROWS_WITH(read_index(folder.path()), "index.json: no such file. A paired dataset is");
  write_file_atomically(folder.file("index.json"), "{\"schema\": 1");
  EXPECT_THROWS_WITH(read_index(folder.path()), "index.json: not valid JSON");
  write_file_atomically(folder.file("index.json"), "[1]");
  EXPECT_THROWS_WITH(read_index(folder.path()), "expected an object, got [1]");
}

void expect_refused(const std::function<void(nlohmann::json&)>& edit, const std::string& text,
                    const GeneratorOptions& options = small_flat()) {
  const SmallDataset dataset(options);
  dataset.edit_index(edit);
  EXPECT_THROWS_WITH(read_index(dataset.folder), text);
}

TEST(DatasetIndex, RefusesWrongKeys) {
  expect_refused([](auto& json) { json["schema"] = 2; }, "expected \"schema\": 1, got 2");
  expect_refused([](auto& json) { json.erase("schema"); }, "expected \"schema\": 1, got none");
  expect_refused([](auto& json) { json.erase("num_sinks"); }, "missing key \"num_sinks\"");
  expect_refused([](auto& json) { json["nmu_tokens"] = 1; },
                 "unknown key \"nmu_tokens\"; known: schema, layout");
  expect_refused([](auto& json) { json["layout"] = "deep"; },
                 "layout: expected \"layers\" or \"flat\", got \"deep\"");
  expect_refused([](auto& json) { json["created_by"] = 3; },
                 "created_by: expected a string, got 3");
  expect_refused([](auto& json) { json["num_tokens"] = 1.5; },
                 "num_tokens: expected an integer of at least 1, got 1.5");
  expect_refused([](auto& json) { json["num_sinks"] = -1; },
                 "num_sinks: expected an integer of at least 0, got -1");
  expect_refused([](auto& json) { json["source"] = 1; }, "source: expected an object, got 1");
  expect_refused([](auto& json) { json["documents"] = "all"; },
                 "documents: expected a list, got \"all\"");
  expect_refused(
      [](auto& json) {
        json["documents"] = {std::string(64, 'a'), "AB"};
      },
      "documents[1]: expected 64 lower-case hexadecimal digits, got \"AB\"");
  expect_refused([](auto& json) { json["sender"]["geometry"].erase("head_dim"); }, "head_dim");
}

TEST(DatasetIndex, RefusesWrongShards) {
  expect_refused([](auto& json) { json["shards"] = "all"; },
                 "shards: expected a list, got \"all\"");
  expect_refused([](auto& json) { json["shards"][1]["file"] = "../a.safetensors"; },
                 "shards[1]: file: expected the name of a .safetensors file in the same folder");
  expect_refused([](auto& json) { json["shards"][0]["sha256"] = "12"; },
                 "sha256: expected 64 lower-case hexadecimal digits, got \"12\"");
  expect_refused([](auto& json) { json["num_sequences"] = 13; },
                 "num_sequences is 13, but the 3 shards have 12 together");
  expect_refused([](auto& json) { json["shards"].erase(2); },
                 "num_sequences is 12, but the 2 shards have 10 together. Was a shard left out?");
  expect_refused([](auto& json) { json["num_tokens"] = 85; },
                 "num_tokens is 85, but the 3 shards have 84");
}

TEST(DatasetIndex, RefusesAFlatDatasetWithLayers) {
  expect_refused([](auto& json) { json["layout"] = "flat"; },
                 "a flat dataset expects 1 layer, 1 kv head and rope null, got 2 layers",
                 small_layers());
  expect_refused([](auto& json) { json["num_sinks"] = 4; },
                 "num_sinks: a flat dataset has none, expected 0");
}

}  // namespace
}  // namespace kvalign
