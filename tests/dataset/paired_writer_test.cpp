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

PairedSequence sequence_of(int64_t tokens) {
  PairedSequence sequence;
  sequence.sender_STd = at::ones({1, tokens, 2});
  sequence.receiver_RTD = at::full({1, tokens, 2}, 2.0);
  return sequence;
}

TEST(PairedDatasetWriter, WritesSequencesOfAnyLength) {
  const TemporaryFolder folder;
  PairedDatasetWriter writer(folder.path(), flat_header(),
                             {.num_sequences = 3, .sequences_per_shard = 2});
  for (const int64_t tokens : {1, 5, 3}) writer.add(sequence_of(tokens));
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
  PairedSequence wrong = sequence_of(3);
  wrong.sender_STd = at::ones({1, 3, 5});
  EXPECT_THROWS_WITH(writer.add(wrong), "expected sender streams [1, 3, 2] of m on the CPU");
  wrong = sequence_of(3);
  wrong.receiver_RTD = at::ones({1, 4, 2});
  EXPECT_THROWS_WITH(writer.add(wrong), "expected receiver streams [1, 3, 2]");
  EXPECT_THROWS_WITH(writer.add(sequence_of(0)), "expected at least 1 token, got none");
  wrong = sequence_of(3);
  wrong.token_ids = at::zeros({3}, at::kLong);
  EXPECT_THROWS_WITH(writer.add(wrong), "expected int32 token_ids [3]");
  wrong = sequence_of(3);
  wrong.receiver_RTD[0][1][1] = 70000.0;
  EXPECT_THROWS_WITH(writer.add(wrong), "sequence 0: a receiver value is not finite as F16");
  EXPECT_THROWS_WITH(writer.finish(), "expected 2 sequences, got 0");
  writer.add(sequence_of(3));
  wrong = sequence_of(3);
  wrong.label = 1;
  EXPECT_THROWS_WITH(writer.add(wrong), "sequence 1: token_ids, label and document must be given");
  writer.add(sequence_of(3));
  EXPECT_THROWS_WITH(writer.add(sequence_of(3)), "expected 2 sequences, got one more");
}

TEST(PairedDatasetWriter, LayersNeedTokenIds) {
  const TemporaryFolder folder;
  DatasetIndex header = flat_header();
  header.layout = DatasetLayout::kLayers;
  PairedDatasetWriter writer(folder.path(), header, {.num_sequences = 1});
  PairedSequence sequence = sequence_of(3);
  sequence.sender_STd = sequence.receiver_RTD = at::ones({2, 3, 2});
  EXPECT_THROWS_WITH(writer.add(sequence),
                     "expected token_ids, which only a flat dataset may lack");
}

}  // namespace
}  // namespace kvalign
