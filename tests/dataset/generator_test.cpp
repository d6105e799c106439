// The generator: same options, same bytes; and the structure that its header promises.
#include "kvalign/dataset/generator.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/dataset/summary.h"
#include "small_dataset.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(Generator, IsDeterministicAndSeeded) {
  const SmallDataset first(small_layers()), second(small_layers());
  EXPECT_EQ(first.index(), second.index());  // with the shards' checksums
  GeneratorOptions options = small_layers();
  options.seed = 2;
  const SmallDataset other(options);
  EXPECT_NE(first.index()["shards"][0]["sha256"], other.index()["shards"][0]["sha256"]);
}

TEST(Generator, SequencesOfADocumentShareTheirLabel) {
  GeneratorOptions options = small_flat();
  options.num_sequences = 60;
  options.sequences_per_document = 3;
  options.num_classes = 3;
  const SmallDataset files(options);
  const auto dataset = PairedDataset::open(files.folder);
  std::vector<int64_t> counts(3);
  for (int64_t i = 0; i < 60; ++i) {
    EXPECT_EQ(dataset->document(i), i / 3);
    EXPECT_EQ(dataset->label(i), dataset->label(i - i % 3));
    ++counts.at(static_cast<size_t>(*dataset->label(i)));
  }
  for (const int64_t count : counts) EXPECT_GT(count, 0);
}

TEST(Generator, HasVarianceTailsAndSinksAsDocumented) {
  GeneratorOptions options = small_layers();
  options.num_sequences = 200;
  options.tokens_per_sequence = 20;
  options.shared_factors = 16;
  options.receiver.head_dim = 64;
  options.num_classes = 0;
  const SmallDataset files(options);
  const auto dataset = PairedDataset::open(files.folder);
  EXPECT_FALSE(dataset->has_labels());
  const DatasetStatistics statistics = compute_statistics(*dataset);
  for (const StreamStatistics& stream : statistics.streams) {
    SCOPED_TRACE(stream.name);
    const bool sender = stream.name.starts_with("sender");
    const bool key = stream.name.find("keys") != std::string::npos;
    // Variances: 1 and noise for a sender; 1.25 and noise, and 1 more for keys, for a receiver,
    // whose scales add exp(2 * 0.2^2) - 1 = 8 % and one channel of 128, 16 times larger, about 12
    // %. Random maps of so few channels leave some room.
    const double variance = sender ? 1.02 : (key ? 2.27 : 1.27) * 1.08 * 1.12;
    EXPECT_NEAR(stream.standard_deviation / std::sqrt(variance), 1, 0.3);
    EXPECT_GT(stream.largest_channel_ratio, sender ? 1 : 2);
    EXPECT_NEAR(stream.sink_norm_ratio, key ? 3 : 0.1, key ? 0.3 : 0.02);
  }
}

TEST(Generator, ChecksItsOptions) {
  const TemporaryFolder folder;
  GeneratorOptions options = small_flat();
  options.sender.num_layers = 2;
  EXPECT_THROWS_WITH(generate_paired_dataset(options, folder.path()),
                     "sender: a flat cache has 1 layer and 1 kv head, got 2 and 1");
  options = small_flat();
  options.dtype = "float8";
  EXPECT_THROWS_WITH(generate_paired_dataset(options, folder.path()), "dtype");
  options = small_layers();
  options.sender.head_dim = 7;
  EXPECT_THROWS_WITH(generate_paired_dataset(options, folder.path()), "rotary_dim");
}

TEST(Generator, ReportsProgress) {
  const TemporaryFolder folder;
  std::vector<int64_t> seen;
  generate_paired_dataset(small_flat(), folder.path(), [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 12);
    seen.push_back(done);
  });
  EXPECT_EQ(seen.size(), 12u);
  EXPECT_EQ(seen.back(), 12);
}

}  // namespace
}  // namespace kvalign
