// Inspection, verification and statistics against what is known of small datasets.
#include "kvalign/dataset/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "kvalign/dataset/paired_writer.h"
#include "small_dataset.h"

namespace kvalign {
namespace {

using ::testing::HasSubstr;

TEST(Summary, InspectsWithoutReadingValues) {
  const SmallDataset files(small_layers());
  const auto dataset = PairedDataset::open(files.folder);
  const DatasetInspection inspection = inspect_dataset(*dataset);
  EXPECT_EQ(inspection.dtype, "F16");
  EXPECT_EQ(inspection.num_documents, 6);
  EXPECT_EQ(inspection.shortest_sequence, 7);
  EXPECT_EQ(inspection.sender_bytes_per_token, 2 * 2 * 2 * 8 * 2);
  EXPECT_EQ(inspection.receiver_bytes_per_token, 2 * 3 * 2 * 16 * 2);
  EXPECT_TRUE(inspection.has_token_ids);
  int64_t labelled = 0;
  for (const auto& [label, count] : inspection.label_counts) labelled += count;
  EXPECT_EQ(labelled, 12);
  EXPECT_EQ(to_json(inspection)["split"]["sha256"], inspection.split.sha256);
  EXPECT_THAT(to_text(inspection), HasSubstr("generated receiver: 3 layers x 2 kv heads x 16"));
}

TEST(Summary, VerifiesASoundDataset) {
  const SmallDataset files(small_layers());
  int64_t calls = 0;
  const DatasetVerification verification =
      verify_dataset(files.folder, [&](int64_t, int64_t) { ++calls; });
  EXPECT_TRUE(verification.sound()) << to_text(verification);
  EXPECT_EQ(verification.shards_checked, 3);
  EXPECT_EQ(calls, 3);
  EXPECT_TRUE(to_json(verification)["sound"].get<bool>());
}

TEST(Summary, FindsAFlippedByte) {
  const SmallDataset files;
  const std::string expected = files.index()["shards"][1]["sha256"];
  {
    std::fstream file(files.shard_path(1), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-3, std::ios::end);
    file.put('\x01');
  }
  const DatasetVerification verification = verify_dataset(files.folder);
  ASSERT_EQ(verification.problems.size(), 1u) << to_text(verification);
  EXPECT_THAT(verification.problems[0],
              HasSubstr("pairs-00002-of-00003.safetensors: checksum: expected " + expected));
}

TEST(Summary, ListsEveryProblem) {
  SmallDataset files(small_layers());
  files.edit_shard(0, [](auto& tensors) { tensors.erase("receiver.keys.2"); });
  files.edit_shard(1, [](auto& tensors) {
    tensors["sender.values.1"][8][0][1] = std::numeric_limits<float>::infinity();
    tensors["receiver.keys.0"][34][1][15] = std::numeric_limits<float>::quiet_NaN();
  });
  std::filesystem::remove(files.shard_path(2));
  const DatasetVerification verification = verify_dataset(files.folder);
  ASSERT_EQ(verification.problems.size(), 4u) << to_text(verification);
  EXPECT_THAT(verification.problems[0], HasSubstr("receiver.keys.2: missing stream"));
  EXPECT_THAT(verification.problems[1],
              HasSubstr("sender.values.1: sequence 6, token 1, channel 1 of 16 is not finite"));
  EXPECT_THAT(verification.problems[2],
              HasSubstr("receiver.keys.0: sequence 9, token 6, channel 31 of 32 is not finite"));
  EXPECT_THAT(verification.problems[3], HasSubstr("missing shard"));
  EXPECT_THAT(to_text(verification), HasSubstr("NOT SOUND: 3 shards"));
}

TEST(Summary, FindsWhatDiffersBetweenShardsAndAFolderWithoutIndex) {
  SmallDataset files;
  files.edit_shard(2, [](auto& tensors) { tensors.erase("labels"); });
  const DatasetVerification verification = verify_dataset(files.folder);
  ASSERT_EQ(verification.problems.size(), 1u);
  EXPECT_THAT(verification.problems[0], HasSubstr("labels: missing here"));
  const TemporaryFolder empty;
  EXPECT_THAT(verify_dataset(empty.path()).problems.at(0), HasSubstr("no such file"));
}

TEST(Summary, StatisticsOfKnownValues) {
  const TemporaryFolder folder;
  DatasetIndex header;
  for (DatasetSide* side : {&header.sender, &header.receiver}) {
    side->geometry.model = "m";
    side->geometry.num_layers = side->geometry.num_kv_heads = 1;
    side->geometry.head_dim = 2;
  }
  PairedDatasetWriter writer(folder.path(), header, {.num_sequences = 1});
  PairedSequence sequence;
  // Channels (3, 4) with norm 5 on the first four tokens, (0, -1) with norm 1 on the last four.
  sequence.sender_SUd = at::tensor({3., 4.}).repeat({1, 8, 1});
  sequence.sender_SUd.narrow(1, 4, 4).copy_(at::tensor({0., -1.}));
  sequence.receiver_RTD = at::zeros({1, 8, 2});
  writer.add(sequence);
  writer.finish();
  const DatasetStatistics statistics = compute_statistics(*PairedDataset::open(folder.path()));
  const StreamStatistics& sender = statistics.streams.at(0);
  EXPECT_EQ(sender.name, "sender.cache");
  EXPECT_DOUBLE_EQ(sender.mean, (3 + 4 + 0 - 1) / 4.0);
  // Mean square (9 + 16 + 0 + 1) / 4 = 6.5; that of the second channel (16 + 1) / 2 = 8.5.
  EXPECT_DOUBLE_EQ(sender.standard_deviation, std::sqrt(6.5 - 1.5 * 1.5));
  EXPECT_DOUBLE_EQ(sender.absolute_maximum, 4);
  EXPECT_DOUBLE_EQ(sender.largest_channel_ratio, std::sqrt(8.5 / 6.5));
  EXPECT_DOUBLE_EQ(sender.sink_norm_ratio, 5);
  EXPECT_DOUBLE_EQ(statistics.streams.at(1).sink_norm_ratio, 0);
  EXPECT_THAT(to_text(statistics), HasSubstr("receiver.cache"));
  EXPECT_EQ(to_json(statistics)["streams"].size(), 2u);
}

}  // namespace
}  // namespace kvalign
