// Datasets of two tokenisers: what is written, read through the alignment, verified and refused.
//
// Shapes: S sender streams, R receiver streams, U sender tokens, T receiver tokens
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/dataset/paired_writer.h"
#include "kvalign/dataset/summary.h"
#include "small_dataset.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using AlignedTensors = std::map<std::string, at::Tensor>;

constexpr int64_t kSequences = 4;

DatasetIndex layers_header() {
  DatasetIndex header;
  header.layout = DatasetLayout::kLayers;
  for (DatasetSide* side : {&header.sender, &header.receiver}) {
    side->geometry.model = "m";
    side->geometry.num_layers = 1;
    side->geometry.num_kv_heads = 2;
    side->geometry.head_dim = 2;
  }
  header.sender.tokenizer_sha256 = std::string(64, '1');
  header.receiver.tokenizer_sha256 = std::string(64, '2');
  header.num_sinks = 1;
  return header;
}

/// Sequence i has 5 + i sender tokens and 3 + i receiver tokens.
PairedSequence sequence_of(int64_t number) {
  const int64_t num_sender = 5 + number, num_receiver = 3 + number;
  PairedSequence sequence;
  sequence.sender_SUd =
      at::arange(2 * num_sender * 4, at::kFloat).view({2, num_sender, 4}) + 1000 * number;
  sequence.receiver_RTD = at::full({2, num_receiver, 4}, static_cast<double>(number));
  sequence.token_ids = at::arange(num_receiver, at::kInt) + static_cast<int32_t>(100 * number);
  sequence.sender_token_ids = at::arange(num_sender, at::kInt);
  sequence.alignment = at::arange(num_receiver, at::kInt) + 1;  // sender token 0 is never the last
  sequence.alignment[num_receiver - 1] = static_cast<int32_t>(num_sender - 1);
  return sequence;
}

class AlignedDataset : public ::testing::Test {
 protected:
  AlignedDataset() : files_(small_layers()) {
    std::filesystem::remove_all(files_.folder);
    PairedDatasetWriter writer(
        files_.folder, layers_header(),
        {.num_sequences = kSequences, .sequences_per_shard = 2, .dtype = at::kFloat});
    for (int64_t i = 0; i < kSequences; ++i) writer.add(sequence_of(i));
    EXPECT_EQ(writer.finish().num_tokens, 3 + 4 + 5 + 6);
  }

  SmallDataset files_;  // for its ways to damage a folder
};

TEST_F(AlignedDataset, ReadsSenderTokensThroughTheAlignment) {
  for (const auto reading : {AlignmentReading::kLast, AlignmentReading::kMean}) {
    const auto dataset = PairedDataset::open(files_.folder, reading);
    EXPECT_TRUE(dataset->has_alignment());
    EXPECT_EQ(dataset->sequence_length(3), 6);
    EXPECT_EQ(dataset->sender_length(3), 8);
    for (const int64_t skip : {0, 2}) {
      const PairedBatch batch = dataset->read({3, 0}, skip);
      const int64_t count = 6 - skip;
      EXPECT_EQ(batch.num_tokens(), count + 3 - skip);
      const PairedSequence sequence = sequence_of(3);
      const at::Tensor expected =
          read_aligned(sequence.sender_SUd, sequence.alignment, reading).slice(1, skip);
      EXPECT_TRUE(at::equal(batch.sender_STd.narrow(1, 0, count), expected)) << skip;
      EXPECT_TRUE(
          at::equal(batch.receiver_RTD.narrow(1, 0, count), sequence.receiver_RTD.slice(1, skip)));
      EXPECT_TRUE(
          at::equal(batch.token_ids.narrow(0, 0, count), sequence.token_ids.slice(0, skip)));
    }
  }
}

TEST_F(AlignedDataset, IsInspectedVerifiedAndCounted) {
  const auto dataset = PairedDataset::open(files_.folder);
  const DatasetInspection inspection = inspect_dataset(*dataset, {.validation = 0, .test = 0});
  EXPECT_TRUE(inspection.has_alignment);
  EXPECT_EQ(inspection.num_sender_tokens, 5 + 6 + 7 + 8);
  EXPECT_EQ(inspection.sender_bytes_per_token, 2 * 4 * 4);
  EXPECT_EQ(to_json(inspection)["num_sender_tokens"], 26);
  EXPECT_THAT(to_text(inspection), ::testing::HasSubstr("aligned     26 sender tokens"));
  const DatasetVerification verification = verify_dataset(files_.folder);
  EXPECT_TRUE(verification.sound()) << to_text(verification);
  // Every sender value is counted, but those of the one sink.
  const DatasetStatistics statistics = compute_statistics(*dataset);
  double sum = 0, count = 0;
  for (int64_t i = 0; i < kSequences; ++i) {
    const at::Tensor kept = sequence_of(i).sender_SUd[0].slice(0, 1);
    sum += kept.sum(at::kDouble).item<double>();
    count += static_cast<double>(kept.numel());
  }
  EXPECT_DOUBLE_EQ(statistics.streams.at(0).mean, sum / count);
}

TEST_F(AlignedDataset, NamesTheSenderValueThatIsNotFinite) {
  files_.edit_shard(1, [](AlignedTensors& t) {
    t["sender.values.0"][7 + 3][1][1] = std::numeric_limits<float>::quiet_NaN();
  });
  const std::string text = "sender.values.0: sequence 3, token 3, channel 3 of 4 is not finite";
  const auto dataset = PairedDataset::open(files_.folder);
  EXPECT_THROWS_WITH(dataset->read({3}), text);
  EXPECT_THROWS_WITH(dataset->read({3}, 1), text);
  EXPECT_THAT(verify_dataset(files_.folder).problems.at(0), ::testing::HasSubstr(text));
}

TEST_F(AlignedDataset, TensorsAreCheckedTogether) {
  const auto refused = [&](const std::function<void(AlignedTensors&)>& edit,
                           const std::string& text) {
    AlignedTensors before;
    files_.edit_shard(1, [&](AlignedTensors& t) {
      for (const auto& [name, tensor] : t) before[name] = tensor.clone();
      edit(t);
    });
    EXPECT_THROWS_WITH(PairedDataset::open(files_.folder),
                       "pairs-00002-of-00002.safetensors: " + text);
    files_.edit_shard(1, [&](AlignedTensors& t) { t = before; });
  };
  refused([](AlignedTensors& t) { t.erase("alignment"); },
          "alignment: missing tensor, but there is sender.sequence_offsets");
  refused([](AlignedTensors& t) { t.erase("sender.token_ids"); },
          "sender.token_ids: missing tensor, but there is sender.sequence_offsets");
  refused([](AlignedTensors& t) { t["alignment"] = t["alignment"].to(at::kLong); },
          "alignment: expected I32 [11]");
  refused(
      [](AlignedTensors& t) { t["alignment"][4] = 7; },
      "alignment: sequence 0 of the shard: expected sender tokens from 0 to 6, got 7 at token 4");
  refused([](AlignedTensors& t) { t["alignment"][6] = 0; },
          "alignment: sequence 1 of the shard: expected numbers that never decrease, got 1 and "
          "then 0 at token 1");
  refused([](AlignedTensors& t) { t["sender.token_ids"] = t["token_ids"]; },
          "sender.token_ids: expected I32 [15]");
  refused([](AlignedTensors& t) { t["sender.sequence_offsets"][2] = 14; },
          "sender.keys.0: expected shape [14, 2, 2]");
  refused([](AlignedTensors& t) { t["sender.sequence_offsets"][1] = 0; },
          "sender.sequence_offsets: expected to increase strictly, got 0 and then 0");
}

TEST_F(AlignedDataset, DifferentTokenizersNeedAnAlignment) {
  SmallDataset files(small_layers());
  files.edit_index([](nlohmann::json& json) {
    json["sender"]["tokenizer_sha256"] = std::string(64, 'a');
    json["receiver"]["tokenizer_sha256"] = std::string(64, 'b');
  });
  EXPECT_THROWS_WITH(PairedDataset::open(files.folder),
                     "alignment: missing tensor; the index says that the two models have different "
                     "tokenizers (aaaaaaaaaaaa and bbbbbbbbbbbb)");
}

TEST(AlignedWriter, ChecksSequences) {
  const TemporaryFolder folder;
  PairedDatasetWriter writer(folder.path(), layers_header(), {.num_sequences = 2});
  PairedSequence wrong = sequence_of(0);
  wrong.sender_token_ids.reset();
  EXPECT_THROWS_WITH(writer.add(wrong), "expected alignment and sender_token_ids together");
  wrong = sequence_of(0);
  wrong.sender_token_ids = wrong.token_ids;
  EXPECT_THROWS_WITH(writer.add(wrong), "expected contiguous int32 sender_token_ids [5]");
  wrong = sequence_of(0);
  wrong.alignment = wrong.sender_token_ids;
  EXPECT_THROWS_WITH(writer.add(wrong), "expected contiguous int32 alignment [3]");
  wrong = sequence_of(0);
  wrong.alignment[2] = 5;
  EXPECT_THROWS_WITH(writer.add(wrong), "alignment: expected sender tokens from 0 to 4, got 5");
  writer.add(sequence_of(0));
  wrong = sequence_of(0);
  wrong.sender_SUd = wrong.sender_SUd.narrow(1, 0, 3);
  wrong.alignment.reset();
  wrong.sender_token_ids.reset();
  EXPECT_THROWS_WITH(writer.add(wrong), "sequence 1: token_ids, alignment, label and document");
}

}  // namespace
}  // namespace kvalign
