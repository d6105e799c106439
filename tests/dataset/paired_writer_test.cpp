// The writer refuses what a reader would, before it is on disk, and is no dataset until finished.
#include "kvalign/dataset/paired_writer.h"

#include <gtest/gtest.h>

#include "kvalign/dataset/paired_dataset.h"
#include "small_dataset.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

DatasetIndex flat_header() {
  DatasetIndex header;
  header.created_by = "test";
  for (DatasetSide* side : {&header.sender, &header.receiver}) {
    side->geometry.model = "m";
    side->geometry.num_layers = side->geometry.num_kv_heads = 1;
    side->geometry.head_dim = 2;
  }
  return header;
}

PairedSequence sequence_of_length(int64_t tokens) {
  PairedSequence sequence;
  sequence.sender_SUd = at::ones({1, tokens, 2});
  sequence.receiver_RTD = at::full({1, tokens, 2}, 2.0);
  return sequence;
}

TEST(PairedDatasetWriter, WritesSequencesOfAnyLength) {
  const TemporaryFolder folder;
  PairedDatasetWriter writer(folder.path(), flat_header(),
                             {.num_sequences = 3, .sequences_per_shard = 2});
  for (const int64_t tokens : {1, 5, 3}) writer.add(sequence_of_length(tokens));
  EXPECT_THROWS_WITH(PairedDataset::open(folder.path()), "index.json: no such file");
  EXPECT_EQ(writer.finish().num_tokens, 9);
  const auto dataset = PairedDataset::open(folder.path());
  EXPECT_EQ(dataset->sequence_length(1), 5);
  EXPECT_EQ(dataset->read({2, 0}).num_tokens(), 4);
  EXPECT_FALSE(dataset->has_labels());
  EXPECT_EQ(dataset->document(2), 2);  // no documents: each sequence is its own
}

TEST(PairedDatasetWriter, ChecksItsOptions) {
  const TemporaryFolder folder;
  EXPECT_THROWS_WITH(PairedDatasetWriter(folder.path(), flat_header(), {.num_sequences = 0}),
                     "expected at least 1 sequence and 1 a shard, got 0 and 32");
  EXPECT_THROWS_WITH(
      PairedDatasetWriter(folder.path(), flat_header(), {.num_sequences = 1, .dtype = at::kDouble}),
      "expected float16, bfloat16 or float32, got Double");
  DatasetIndex header = flat_header();
  header.sender.geometry.head_dim = 0;
  EXPECT_THROWS_WITH(PairedDatasetWriter(folder.path(), header, {.num_sequences = 1}), "head_dim");
  const SmallDataset existing;
  EXPECT_THROWS_WITH(PairedDatasetWriter(existing.folder, flat_header(), {.num_sequences = 1}),
                     "holds a dataset already. Give an empty folder.");
}

TEST(PairedDatasetWriter, ChecksSequences) {
  const TemporaryFolder folder;
  PairedDatasetWriter writer(folder.path(), flat_header(), {.num_sequences = 2});
  PairedSequence wrong = sequence_of_length(3);
  wrong.sender_SUd = at::ones({1, 3, 5});
  EXPECT_THROWS_WITH(writer.add(wrong), "expected sender streams [1, 3, 2] of m on the CPU");
  wrong = sequence_of_length(3);
  wrong.receiver_RTD = at::ones({1, 4, 2});
  EXPECT_THROWS_WITH(writer.add(wrong), "expected receiver streams [1, 3, 2]");
  EXPECT_THROWS_WITH(writer.add(sequence_of_length(0)), "expected at least 1 token, got none");
  wrong = sequence_of_length(3);
  wrong.token_ids = at::zeros({3}, at::kLong);
  EXPECT_THROWS_WITH(writer.add(wrong), "expected contiguous int32 token_ids [3]");
  wrong = sequence_of_length(3);
  wrong.receiver_RTD[0][1][1] = 70000.0;
  EXPECT_THROWS_WITH(writer.add(wrong), "sequence 0: a receiver value is not finite as F16");
  EXPECT_THROWS_WITH(writer.finish(), "expected 2 sequences, got 0");
  writer.add(sequence_of_length(3));
  wrong = sequence_of_length(3);
  wrong.label = 1;
  EXPECT_THROWS_WITH(writer.add(wrong),
                     "sequence 1: token_ids, alignment, label and document must be");
  writer.add(sequence_of_length(3));
  EXPECT_THROWS_WITH(writer.add(sequence_of_length(3)), "expected 2 sequences, got one more");
}

TEST(PairedDatasetWriter, DocumentsAreTheHeaders) {
  const TemporaryFolder folder;
  DatasetIndex header = flat_header();
  header.documents = {std::string(64, 'a'), std::string(64, 'b')};
  PairedDatasetWriter writer(folder.path(), header, {.num_sequences = 1});
  PairedSequence sequence = sequence_of_length(3);
  EXPECT_THROWS_WITH(writer.add(sequence), "expected one of the header's 2 documents, got none");
  sequence.document = 2;
  EXPECT_THROWS_WITH(writer.add(sequence), "expected one of the header's 2 documents, got 2");
  sequence.document = 1;
  writer.add(sequence);
  EXPECT_EQ(writer.finish().documents, header.documents);
  EXPECT_EQ(PairedDataset::open(folder.path())->index().documents, header.documents);
}

/// Sequence i of a dataset of one value: i + 1 everywhere.
PairedSequence numbered(int64_t number) {
  PairedSequence sequence = sequence_of_length(2);
  sequence.sender_SUd.fill_(number + 1);
  return sequence;
}

class ResumedWriter : public ::testing::Test {
 protected:
  static constexpr int64_t kSequences = 5;

  PairedDatasetWriter writer(const std::string& plan = "plan") {
    return {folder_.path(),
            flat_header(),
            {.num_sequences = kSequences, .sequences_per_shard = 2, .plan = plan}};
  }
  /// Adds what is missing; returns the numbers of the shards that were kept.
  static std::vector<int64_t> fill(PairedDatasetWriter& writer, int64_t num_shards) {
    std::vector<int64_t> kept;
    for (int64_t shard = 0; shard < num_shards; ++shard) {
      if (writer.has_shard(shard)) {
        writer.keep_shard();
        kept.push_back(shard);
        continue;
      }
      for (int64_t i = 2 * shard; i < std::min(2 * shard + 2, kSequences); ++i) {
        writer.add(numbered(i));
      }
    }
    return kept;
  }
  void expect_whole() {
    const auto dataset = PairedDataset::open(folder_.path());
    ASSERT_EQ(dataset->num_sequences(), kSequences);
    for (int64_t i = 0; i < kSequences; ++i) {
      EXPECT_EQ(dataset->read({i}).sender_STd.min().item<float>(), static_cast<float>(i + 1));
    }
  }
  std::string shard(int64_t number) { return folder_.file(shard_file_name(number, 3)); }

  TemporaryFolder folder_;
};

TEST_F(ResumedWriter, KeepsWhatIsThere) {
  {
    PairedDatasetWriter first = writer();
    EXPECT_EQ(first.num_shards(), 3);
    EXPECT_TRUE(fill(first, 2).empty());
  }
  write_file_atomically(shard(2) + ".tmp-1-1", "half a shard");
  PairedDatasetWriter second = writer();
  EXPECT_FALSE(std::filesystem::exists(shard(2) + ".tmp-1-1"));
  EXPECT_THROWS_WITH(PairedDataset::open(folder_.path()), "index.json: no such file");
  EXPECT_EQ(fill(second, 3), (std::vector<int64_t>{0, 1}));
  EXPECT_THROWS_WITH(second.keep_shard(), "shard 2 is not there, or is being added to");
  EXPECT_EQ(nlohmann::json::parse(second.finish().source)["plan"], "plan");
  EXPECT_FALSE(std::filesystem::exists(folder_.file("capture-progress.json")));
  expect_whole();
}

TEST_F(ResumedWriter, MakesADamagedShardOfAFinishedDatasetAgain) {
  {
    PairedDatasetWriter first = writer();
    fill(first, 3);
    first.finish();
  }
  write_file_atomically(shard(1), "damaged");
  PairedDatasetWriter second = writer();
  EXPECT_EQ(fill(second, 3), (std::vector<int64_t>{0, 2}));
  second.finish();
  expect_whole();
}

TEST_F(ResumedWriter, RefusesAnotherCapture) {
  { PairedDatasetWriter untouched = writer("a plan of which nothing was done"); }
  {
    PairedDatasetWriter first = writer();
    fill(first, 1);
  }
  EXPECT_THROWS_WITH(writer("other"), "holds a capture of other models, tokens or options");
  PairedDatasetWriter second = writer();
  fill(second, 3);
  second.finish();
  EXPECT_THROWS_WITH(writer("other"), "holds a capture of other models, tokens or options");
  EXPECT_THROWS_WITH(writer(""), "holds a dataset already");
  std::filesystem::remove(folder_.file("index.json"));
  EXPECT_THROWS_WITH(writer(), "holds shards, but neither index.json nor capture-progress.json");
}

TEST_F(ResumedWriter, RefusesABrokenRecord) {
  const auto refused = [&](const std::string& record, const std::string& text) {
    write_file_atomically(folder_.file("capture-progress.json"), record);
    EXPECT_THROWS_WITH(writer(), "capture-progress.json: " + text);
  };
  refused("{", "expected an object, got");
  refused(R"({"plan": "plan"})", "missing key \"shards\"");
  refused(R"({"plan": "plan", "shards": []})", "shards: expected an object, got []");
  refused(R"({"plan": "plan", "shards": {"x": {}}})", "shards: x: expected the number of a shard");
  refused(R"({"plan": "plan", "shards": {"0": {}}})", "shards: 0: missing key \"file\"");
}

TEST(PairedDatasetWriter, LayersNeedTokenIds) {
  const TemporaryFolder folder;
  DatasetIndex header = flat_header();
  header.layout = DatasetLayout::kLayers;
  PairedDatasetWriter writer(folder.path(), header, {.num_sequences = 1});
  PairedSequence sequence = sequence_of_length(3);
  sequence.sender_SUd = sequence.receiver_RTD = at::ones({2, 3, 2});
  EXPECT_THROWS_WITH(writer.add(sequence),
                     "expected token_ids, which only a flat dataset may lack");
}

}  // namespace
}  // namespace kvalign
