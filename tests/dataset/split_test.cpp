// A split covers every sequence once, keeps documents whole, and never changes.
#include "kvalign/dataset/split.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "kvalign/dataset/paired_dataset.h"
#include "small_dataset.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

GeneratorOptions many_sequences(int64_t sequences, int64_t per_document) {
  GeneratorOptions options = small_flat();
  options.num_sequences = sequences;
  options.sequences_per_document = per_document;
  options.tokens_per_sequence = 1;
  return options;
}

TEST(Split, CoversEachSequenceOnceAndKeepsDocumentsWhole) {
  for (const int64_t per_document : {1, 3, 7}) {
    const SmallDataset files(many_sequences(100, per_document));
    const auto dataset = PairedDataset::open(files.folder);
    for (int64_t seed = 0; seed < 20; ++seed) {
      const Split split = split_by_sequence(*dataset, {.seed = seed});
      std::vector<int64_t> all;
      std::vector<std::set<int64_t>> documents;
      for (const auto* part : {&split.train, &split.validation, &split.test}) {
        EXPECT_TRUE(std::is_sorted(part->begin(), part->end()));
        all.insert(all.end(), part->begin(), part->end());
        documents.emplace_back();
        for (const int64_t sequence : *part) documents.back().insert(dataset->document(sequence));
      }
      std::sort(all.begin(), all.end());
      for (int64_t i = 0; i < 100; ++i) ASSERT_EQ(all.at(static_cast<size_t>(i)), i);
      for (const int64_t document : documents[0]) {
        EXPECT_FALSE(documents[1].count(document) || documents[2].count(document));
      }
      for (const int64_t document : documents[1]) EXPECT_FALSE(documents[2].count(document));
      // A document is taken only if it brings the part nearer to 10: at most half of one is amiss.
      EXPECT_LE(std::abs(static_cast<int64_t>(split.validation.size()) - 10), per_document / 2 + 1);
      EXPECT_LE(std::abs(static_cast<int64_t>(split.test.size()) - 10), per_document / 2 + 1);
    }
  }
}

TEST(Split, DependsOnSeedAndIsRemembered) {
  const SmallDataset files(many_sequences(20, 1));
  const auto dataset = PairedDataset::open(files.folder);
  const Split split = split_by_sequence(*dataset, {});
  EXPECT_EQ(split_by_sequence(*dataset, {}).sha256, split.sha256);
  EXPECT_NE(split_by_sequence(*dataset, {.seed = 2}).sha256, split.sha256);
  // Golden: recorded splits of old runs must be found again by every later version.
  EXPECT_EQ(split.validation, (std::vector<int64_t>{1, 14}));
  EXPECT_EQ(split.test, (std::vector<int64_t>{3, 10}));
}

TEST(Split, HashNamesTheDatasetToo) {
  const SmallDataset files(many_sequences(20, 1));
  const Split before = split_by_sequence(*PairedDataset::open(files.folder), {});
  files.edit_index([](auto& json) { json["created_by"] = "somebody else"; });
  const Split after = split_by_sequence(*PairedDataset::open(files.folder), {});
  EXPECT_EQ(before.train, after.train);
  EXPECT_NE(before.sha256, after.sha256);
}

TEST(Split, ZeroFractionsAreEmptyAndSmallOnesAreNot) {
  const SmallDataset files(many_sequences(20, 1));
  const auto dataset = PairedDataset::open(files.folder);
  const Split all = split_by_sequence(*dataset, {.validation = 0, .test = 0});
  EXPECT_EQ(all.train.size(), 20u);
  const Split small = split_by_sequence(*dataset, {.validation = 0.001, .test = 0.001});
  EXPECT_EQ(small.validation.size(), 1u);
  EXPECT_EQ(small.test.size(), 1u);
}

TEST(Split, TakesTheSmallestDocumentWhereNoneSuits) {
  const SmallDataset files(many_sequences(20, 7));  // documents of 7, 7 and 6; 10 % are 2 sequences
  const Split split = split_by_sequence(*PairedDataset::open(files.folder), {});
  EXPECT_EQ(split.validation, (std::vector<int64_t>{14, 15, 16, 17, 18, 19}));
  EXPECT_EQ(split.test.size(), 7u);
  EXPECT_EQ(split.train.size(), 7u);
}

TEST(Split, ChecksFractionsAndDocuments) {
  const SmallDataset files(many_sequences(20, 10));
  const auto dataset = PairedDataset::open(files.folder);
  EXPECT_THROWS_WITH(split_by_sequence(*dataset, {.validation = 0.6, .test = 0.4}),
                     "leave something to train on, got validation 0.6 and test 0.4");
  EXPECT_THROWS_WITH(split_by_sequence(*dataset, {.validation = -0.1, .test = 0.4}),
                     "expected fractions of at least 0");
  EXPECT_THROWS_WITH(split_by_sequence(*dataset, {}),
                     "expected at least 3 documents, one for each part, got 2");
  const SmallDataset few(many_sequences(6, 2));
  EXPECT_THROWS_WITH(
      split_by_sequence(*PairedDataset::open(few.folder), {.validation = 0.6, .test = 0.39}),
      "nothing is left to train on");
}

}  // namespace
}  // namespace kvalign
