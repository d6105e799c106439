// The loader's order is a function of (sequences, options, epoch): full epochs, resumed ones, and
// what happens when a batch cannot be read.
#include "kvalign/dataset/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "kvalign/ops/fp8_wire.h"
#include "small_dataset.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

std::vector<int64_t> all_sequences(const PairedDataset& dataset) {
  std::vector<int64_t> sequences(static_cast<size_t>(dataset.num_sequences()));
  std::iota(sequences.begin(), sequences.end(), int64_t{0});
  return sequences;
}

std::vector<PairedBatch> read_all(BatchLoader& loader) {
  std::vector<PairedBatch> batches;
  for (PairedBatch batch; loader.next(batch);) batches.push_back(batch);
  return batches;
}

TEST(BatchLoader, EachEpochIsAPermutationInWholeSequences) {
  const SmallDataset files;  // 12 sequences of 7 tokens
  const auto dataset = PairedDataset::open(files.folder);
  BatchLoader loader(dataset, all_sequences(*dataset), {.batch_tokens = 20});
  EXPECT_EQ(loader.num_tokens(), 84);
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    loader.start(epoch);
    std::vector<int64_t> order;
    for (const PairedBatch& batch : read_all(loader)) {
      EXPECT_EQ(batch.sequences.size(), 2u);  // a third would make 21 tokens
      EXPECT_TRUE(at::equal(batch.receiver_RTD, dataset->read(batch.sequences).receiver_RTD));
      order.insert(order.end(), batch.sequences.begin(), batch.sequences.end());
    }
    orders.push_back(order);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, all_sequences(*dataset));
    EXPECT_EQ(loader.num_batches(epoch), 6);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
}

TEST(BatchLoader, ResumesInTheMiddleOfAnEpoch) {
  const SmallDataset files;
  const auto dataset = PairedDataset::open(files.folder);
  const LoaderOptions options{.batch_tokens = 7, .prefetch_batches = 3, .seed = 5};
  BatchLoader whole(dataset, all_sequences(*dataset), options);
  whole.start(4);
  const std::vector<PairedBatch> expected = read_all(whole);
  ASSERT_EQ(expected.size(), 12u);
  for (int64_t first = 0; first <= 12; ++first) {
    BatchLoader resumed(dataset, all_sequences(*dataset), options);
    resumed.start(4, first);
    const std::vector<PairedBatch> batches = read_all(resumed);
    ASSERT_EQ(batches.size(), expected.size() - static_cast<size_t>(first));
    for (size_t i = 0; i < batches.size(); ++i) {
      const PairedBatch& same = expected[static_cast<size_t>(first) + i];
      EXPECT_EQ(batches[i].sequences, same.sequences);
      EXPECT_TRUE(at::equal(batches[i].sender_STd, same.sender_STd));
    }
  }
}

TEST(BatchLoader, OrderIsRemembered) {
  const SmallDataset files;
  const auto dataset = PairedDataset::open(files.folder);
  BatchLoader loader(dataset, {0, 1, 2, 3, 4, 5}, {.batch_tokens = 7});
  std::vector<int64_t> order;
  for (const auto& batch : loader.plan(1)) order.push_back(batch.front());
  // Golden: a run saved by an older version must resume with the batches it would have seen.
  EXPECT_EQ(order, (std::vector<int64_t>{0, 3, 1, 4, 5, 2}));
}

TEST(BatchLoader, KeepsOrderWithoutShuffleAndSkipsSinks) {
  const SmallDataset files(small_layers());
  const auto dataset = PairedDataset::open(files.folder);
  BatchLoader loader(dataset, {9, 3, 5},
                     {.batch_tokens = 7, .shuffle = false, .skip_first_tokens = 4});
  // 3 tokens are left of each sequence, so two make a batch of 7 at most.
  EXPECT_EQ(loader.plan(0), (std::vector<std::vector<int64_t>>{{9, 3}, {5}}));
  EXPECT_EQ(loader.plan(1), loader.plan(0));
  EXPECT_EQ(loader.num_tokens(), 9);
  loader.start(0);
  EXPECT_EQ(read_all(loader)[0].num_tokens(), 6);
}

TEST(BatchLoader, ALongSequenceIsABatchOfItsOwn) {
  const SmallDataset files;
  const auto dataset = PairedDataset::open(files.folder);
  BatchLoader loader(dataset, {1, 2}, {.batch_tokens = 3, .shuffle = false});
  EXPECT_EQ(loader.plan(0), (std::vector<std::vector<int64_t>>{{1}, {2}}));
}

TEST(BatchLoader, CanBeStartedAnewOrDroppedAtAnyTime) {
  const SmallDataset files;
  const auto dataset = PairedDataset::open(files.folder);
  for (int64_t taken = 0; taken < 6; ++taken) {
    BatchLoader loader(dataset, all_sequences(*dataset), {.batch_tokens = 14});
    PairedBatch batch;
    loader.start(0);
    for (int64_t i = 0; i < taken; ++i) ASSERT_TRUE(loader.next(batch));
    loader.start(1);
    ASSERT_TRUE(loader.next(batch));
    EXPECT_EQ(batch.sequences, loader.plan(1)[0]);
  }  // leaves with batches unread and the thread at work
}

TEST(BatchLoader, SendsEachSequenceThroughTheWire) {
  const SmallDataset files;
  const auto dataset = PairedDataset::open(files.folder);
  const std::string name = "float8_e4m3fn/tensor";  // scales that tokens share
  BatchLoader loader(dataset, all_sequences(*dataset), {.batch_tokens = 20, .wire = name});
  loader.start(0);
  for (const PairedBatch& batch : read_all(loader)) {
    const PairedBatch stored = dataset->read(batch.sequences);
    EXPECT_TRUE(at::equal(batch.receiver_RTD, stored.receiver_RTD));
    std::vector<at::Tensor> sent;
    for (const int64_t sequence : batch.sequences) {
      sent.push_back(send_cache(parse_fp8_wire(name), dataset->read({sequence}).sender_STd,
                                dataset->index().sender.geometry.num_kv_heads));
    }
    EXPECT_TRUE(at::equal(batch.sender_STd, at::cat(sent, 1)));
    EXPECT_FALSE(at::equal(batch.sender_STd, stored.sender_STd));
  }
  EXPECT_THROWS_WITH(BatchLoader(dataset, {0}, {.wire = "float8"}), "got \"float8\"");
}

TEST(BatchLoader, RethrowsWhatTheThreadMet) {
  SmallDataset files;
  files.edit_shard(0, [](auto& tensors) {
    tensors["sender.cache"][7 * 3][0] = std::numeric_limits<float>::quiet_NaN();
  });
  BatchLoader loader(PairedDataset::open(files.folder), {0, 1, 2, 3, 4},
                     {.batch_tokens = 7, .shuffle = false});
  PairedBatch batch;
  loader.start(0);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(loader.next(batch));
  EXPECT_THROWS_WITH(loader.next(batch), "sender.cache: sequence 3, token 0, channel 0");
  EXPECT_FALSE(loader.next(batch));
  loader.start(0, 4);
  EXPECT_TRUE(loader.next(batch));
}

TEST(BatchLoader, ChecksItsArguments) {
  const SmallDataset files;
  const auto dataset = PairedDataset::open(files.folder);
  EXPECT_THROWS_WITH(BatchLoader(dataset, {}, {}), "BatchLoader: expected sequences, got none");
  EXPECT_THROWS_WITH(BatchLoader(dataset, {12}, {}), "expected a sequence from 0 to 11, got 12");
  EXPECT_THROWS_WITH(BatchLoader(dataset, {0}, {.batch_tokens = 0}),
                     "expected batch_tokens and prefetch_batches of at least 1");
  BatchLoader loader(dataset, {0}, {});
  PairedBatch batch;
  EXPECT_THROWS_WITH(loader.next(batch), "call start() first");
  EXPECT_THROWS_WITH(loader.start(0, 2), "expected a first batch from 0 to 1 of epoch 0, got 2");
}

}  // namespace
}  // namespace kvalign
