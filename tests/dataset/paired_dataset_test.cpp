// Reading sequences equals reading the stored tensors by hand; each damage is an error that names
// file, tensor and sequence.
#include "kvalign/dataset/paired_dataset.h"

#include <gtest/gtest.h>

#include <limits>

#include "small_dataset.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

TEST(PairedDataset, ReadsLayersInStreamOrder) {
  const SmallDataset files(small_layers());
  const auto dataset = PairedDataset::open(files.folder);
  EXPECT_EQ(dataset->num_sender_streams(), 4);
  EXPECT_EQ(dataset->num_receiver_streams(), 6);
  EXPECT_EQ(dataset->sender_stream_names()[2], "values.0");
  EXPECT_EQ(dataset->document(3), 1);
  EXPECT_EQ(dataset->sequence_length(11), 7);

  const std::vector<int64_t> sequences = {7, 0, 11};
  const int64_t skip = 4;
  const PairedBatch batch = dataset->read(sequences, skip);
  EXPECT_EQ(batch.num_tokens(), 9);
  EXPECT_EQ(batch.sequences, sequences);
  EXPECT_TRUE(at::equal(batch.sequence_offsets, at::tensor({0, 3, 6, 9}, at::kLong)));
  for (int64_t b = 0; b < 3; ++b) {
    const int64_t sequence = sequences[static_cast<size_t>(b)];
    const auto [shard, number] = dataset->place(sequence);
    EXPECT_EQ(shard, sequence / 5);
    EXPECT_EQ(batch.labels[b].item<int64_t>(), *dataset->label(sequence));
    const auto expect_equal = [&](const at::Tensor& read, const std::string& name) {
      const at::Tensor stored =
          dataset->stored_tensor(shard, name).narrow(0, number * 7 + skip, 7 - skip);
      EXPECT_TRUE(at::equal(read.narrow(0, b * 3, 3), stored.flatten(1).to(read.scalar_type())))
          << name << " of sequence " << sequence;
    };
    const auto senders = dataset->sender_stream_names();
    for (size_t s = 0; s < senders.size(); ++s) {
      expect_equal(batch.sender_STd[static_cast<int64_t>(s)], "sender." + senders[s]);
    }
    const auto receivers = dataset->receiver_stream_names();
    for (size_t r = 0; r < receivers.size(); ++r) {
      expect_equal(batch.receiver_RTD[static_cast<int64_t>(r)], "receiver." + receivers[r]);
    }
    EXPECT_TRUE(
        at::equal(batch.token_ids.narrow(0, b * 3, 3),
                  dataset->stored_tensor(shard, "token_ids").narrow(0, number * 7 + skip, 3)));
  }
}

TEST(PairedDataset, ReadsEveryDtype) {
  for (const char* dtype : {"float16", "bfloat16", "float32"}) {
    GeneratorOptions options = small_flat();
    options.dtype = dtype;
    const SmallDataset files(options);
    const auto dataset = PairedDataset::open(files.folder);
    const PairedBatch batch = dataset->read({1});
    EXPECT_EQ(batch.sender_STd.scalar_type(), at::kFloat);
    EXPECT_FALSE(batch.token_ids.defined());
    EXPECT_TRUE(
        at::equal(batch.receiver_RTD[0],
                  dataset->stored_tensor(0, "receiver.cache").narrow(0, 7, 7).to(at::kFloat)));
  }
}

TEST(PairedDataset, WideRowsAndManyRowsAreCopiedWhole) {
  // Wider than one piece of the copy loop (32768 values), and more rows than fit in one.
  GeneratorOptions options = small_flat();
  options.num_sequences = 1;
  options.sender.head_dim = 40000;
  options.receiver.head_dim = 5000;
  const SmallDataset files(options);
  const auto dataset = PairedDataset::open(files.folder);
  const PairedBatch batch = dataset->read({0});
  for (const std::string side : {"sender", "receiver"}) {
    const at::Tensor& read = side == "sender" ? batch.sender_STd : batch.receiver_RTD;
    EXPECT_TRUE(at::equal(read[0], dataset->stored_tensor(0, side + ".cache").to(at::kFloat)));
  }
}

TEST(PairedDataset, ChecksWhatIsRead) {
  const SmallDataset files;
  const auto dataset = PairedDataset::open(files.folder);
  EXPECT_THROWS_WITH(dataset->read({}), "expected sequences to read, got none");
  EXPECT_THROWS_WITH(dataset->read({12}), "expected a sequence from 0 to 11, got 12");
  EXPECT_THROWS_WITH(dataset->read({0}, -1), "expected skip_first_tokens of at least 0, got -1");
  EXPECT_THROWS_WITH(dataset->read({3}, 7), "sequence 3 has 7 tokens, so none are left after");
  EXPECT_THROWS_WITH(dataset->stored_tensor(3, "sender.cache"), "expected a shard from 0 to 2");
}

TEST(PairedDataset, NamesTheValueThatIsNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    SmallDataset files(small_layers());
    files.edit_shard(1, [&](Tensors& tensors) { tensors["receiver.values.2"][16][1][3] = bad; });
    const auto dataset = PairedDataset::open(files.folder);
    // Token 16 of shard 1 is token 2 of its sequence 2, number 7 of the dataset.
    EXPECT_NO_THROW(dataset->read({6, 8}));
    EXPECT_THROWS_WITH(dataset->read({6, 7}),
                       "pairs-00002-of-00003.safetensors: receiver.values.2: sequence 7, token 2, "
                       "channel 19 of 32 "
                       "is not finite");
    EXPECT_NO_THROW(dataset->read({7}, 4));
  }
}

TEST(PairedDataset, RefusesAMissingShard) {
  const SmallDataset files;
  std::filesystem::remove(files.shard_path(1));
  EXPECT_THROWS_WITH(PairedDataset::open(files.folder),
                     "pairs-00002-of-00003.safetensors: missing shard; index.json lists it");
}

void expect_refused(const std::function<void(Tensors&)>& edit, const std::string& text) {
  SmallDataset files(small_layers());
  files.edit_shard(1, edit);
  EXPECT_THROWS_WITH(PairedDataset::open(files.folder),
                     "pairs-00002-of-00003.safetensors: " + text);
}

TEST(PairedDataset, RefusesWrongStreams) {
  expect_refused(
      [](Tensors& t) { t.erase("sender.keys.1"); },
      "sender.keys.1: missing stream; the index says that generated sender has 2 layers");
  expect_refused([](Tensors& t) { t["sender.keys.1"] = t["sender.keys.1"].to(at::kDouble); },
                 "sender.keys.1: expected F16, BF16 or F32, got F64");
  expect_refused([](Tensors& t) { t["sender.keys.1"] = t["receiver.keys.1"]; },
                 "sender.keys.1: expected shape");
  expect_refused([](Tensors& t) { t["receiver.keys.0"] = t["receiver.keys.0"].to(at::kFloat); },
                 "receiver.keys.0: expected F16 as sender.keys.0, got F32");
  expect_refused([](Tensors& t) { t["receiver.keys.3"] = t["receiver.keys.0"]; },
                 "receiver.keys.3: unexpected tensor");
}

TEST(PairedDataset, RefusesWrongSmallTensors) {
  expect_refused([](Tensors& t) { t.erase("sequence_offsets"); },
                 "sequence_offsets: missing tensor; expected I64 [6]");
  expect_refused([](Tensors& t) { t["sequence_offsets"] = t["sequence_offsets"].to(at::kInt); },
                 "sequence_offsets: expected I64 [6] by the index, got I32");
  expect_refused([](Tensors& t) { t["sequence_offsets"][0] = 1; },
                 "sequence_offsets: expected to start at 0, got 1");
  expect_refused([](Tensors& t) { t["sequence_offsets"][2] = 7; },
                 "sequence_offsets: expected to increase strictly, got 7 and then 7 at sequence 1");
  expect_refused([](Tensors& t) { t["sequence_offsets"][5] = 34; },
                 "sequence_offsets: expected to end at the shard's 35 tokens, got 34");
  expect_refused([](Tensors& t) { t.erase("token_ids"); }, "token_ids: missing tensor");
  expect_refused([](Tensors& t) { t["labels"][2] = -1; },
                 "labels: expected classes from 0, got -1");
  expect_refused([](Tensors& t) { t.erase("labels"); }, "labels: missing here, but found in ");
  expect_refused([](Tensors& t) { t.erase("document_ids"); },
                 "document_ids: missing here, but found in ");
}

TEST(PairedDataset, DocumentsAreThoseOfTheIndex) {
  SmallDataset files(small_layers());
  const auto list_documents = [&](size_t count) {
    files.edit_index([&](nlohmann::json& json) {
      json["documents"] = std::vector<std::string>(count, std::string(64, 'a'));
    });
  };
  list_documents(6);
  EXPECT_EQ(PairedDataset::open(files.folder)->document(11), 5);
  list_documents(5);
  EXPECT_THROWS_WITH(PairedDataset::open(files.folder),
                     "pairs-00003-of-00003.safetensors: document_ids: expected numbers of the 5 "
                     "documents that index.json lists, got 5");
  for (size_t shard = 0; shard < 3; ++shard) {
    files.edit_shard(shard, [](Tensors& t) { t.erase("document_ids"); });
  }
  EXPECT_THROWS_WITH(PairedDataset::open(files.folder), "document_ids: missing tensor");
}

TEST(PairedDataset, TokenIdsAreInAllShardsOrNone) {
  SmallDataset files;
  files.edit_shard(1, [](Tensors& t) { t["token_ids"] = at::zeros({35}, at::kInt); });
  EXPECT_THROWS_WITH(PairedDataset::open(files.folder), "token_ids: found here, but missing from ");
}

}  // namespace
}  // namespace kvalign
