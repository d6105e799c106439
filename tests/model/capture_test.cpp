// A capture of tiny random decoders against passes of one sequence at a time; stopping and going
// on.
#include "kvalign/model/capture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kvalign/core/files.h"
#include "kvalign/core/sha256.h"
#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/dataset/summary.h"
#include "kvalign/dataset/token_file.h"
#include "kvalign/model/decoder.h"
#include "tests/support/decoder_folder.h"
#include "tests/support/throws.h"
#include "tests/support/token_file.h"

namespace kvalign {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kVocabulary = 64;  // of the golden decoders

class CaptureTest : public ::testing::Test {
 protected:
  CaptureTest() {
    options_ = {.sender = golden_decoder("llama"),
                .receiver = golden_decoder("qwen2"),
                .tokens = parent_.file("tokens.safetensors"),
                .sequences_per_shard = 2,
                .batch_sequences = 3,
                .dtype = "float32"};
    write_tokens(make_test_tokens({5, 3, 9, 4, 6}, kVocabulary));
  }

  void write_tokens(const TestTokens& tokens) { tokens.write(options_.tokens); }
  std::filesystem::path folder() const { return parent_.file("pairs"); }
  CaptureResult run(const CaptureControl& control = {}) const {
    return capture(options_, folder(), at::kCPU, control);
  }

  // [2 L, T, d], of the sequence alone.
  static at::Tensor streams_of(const std::string& model, const at::Tensor& token_ids) {
    const Decoder decoder = Decoder::load(model);
    return decoder.forward({.token_ids_BT = token_ids.unsqueeze(0)}).cache->streams();
  }

  // Both sides of all sequences equal passes of each sequence alone, to a relative error.
  void expect_caches(double tolerance) const {
    const TokenFile tokens = read_token_file(options_.tokens);
    const auto dataset = PairedDataset::open(folder());
    ASSERT_EQ(dataset->num_sequences(), tokens.num_sequences());
    for (int64_t i = 0; i < tokens.num_sequences(); ++i) {
      const PairedBatch batch = dataset->read({i});
      const at::Tensor receiver_ids = tokens.receiver.sequence(i).token_ids;
      at::Tensor sender = streams_of(options_.sender, tokens.sender.sequence(i).token_ids);
      if (!tokens.one_tokenizer) {
        sender = read_aligned(sender, tokens.alignment(i), AlignmentReading::kLast);
      }
      EXPECT_TRUE(at::equal(batch.token_ids, receiver_ids));
      expect_close(batch.sender_STd, sender, tolerance);
      expect_close(batch.receiver_RTD, streams_of(options_.receiver, receiver_ids), tolerance);
    }
  }
  static void expect_close(const at::Tensor& got, const at::Tensor& expected, double tolerance) {
    ASSERT_EQ(got.sizes(), expected.sizes());
    const double error = ((got - expected).norm() / expected.norm()).item<double>();
    EXPECT_LE(error, tolerance);
  }

  TemporaryFolder parent_;
  CaptureOptions options_;
};

// Padding and batching change sums of a few dozen float32 products.
constexpr double kRounding = 1e-6;

TEST_F(CaptureTest, StoresWhatTheDecodersCompute) {
  const CaptureResult result = run();
  EXPECT_FALSE(result.interrupted);
  EXPECT_EQ(result.num_shards, 3);
  EXPECT_EQ(result.shards_written, 3);
  EXPECT_EQ(result.progress.tokens_total, 2 * 27);
  EXPECT_EQ(result.progress.tokens_done, 2 * 27);
  expect_caches(kRounding);
  EXPECT_TRUE(verify_dataset(folder()).sound());
}

std::string digest_of(const std::string& folder, const std::vector<std::string>& files) {
  std::string digests;
  for (const std::string& file : files) digests += sha256_of_file(folder + "/" + file);
  return sha256_hex(digests);
}

TEST_F(CaptureTest, RecordsWhereItComesFrom) {
  TestTokens tokens = make_test_tokens({5, 3, 9, 4, 6}, kVocabulary);
  tokens.tensors.push_back({"labels", at::tensor(std::vector<int64_t>{0, 1, 2, 1, 0}, at::kLong)});
  write_tokens(tokens);
  options_.receiver = golden_decoder("qwen3");  // weights in several files
  options_.num_sinks = 2;
  const DatasetIndex index = run().index;
  EXPECT_EQ(index, read_index(folder()));
  EXPECT_THAT(index.created_by, HasSubstr("kvalign capture "));
  EXPECT_EQ(index.sender.geometry, Decoder::load(options_.sender).geometry());
  EXPECT_EQ(index.sender.revision,
            digest_of(options_.sender, {"expected.safetensors", "model.safetensors"}));
  EXPECT_EQ(index.receiver.revision,
            digest_of(options_.receiver,
                      {"expected.safetensors", "model-00001-of-00003.safetensors",
                       "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"}));
  EXPECT_EQ(index.sender.tokenizer_sha256, std::string(64, '1'));
  EXPECT_EQ(index.num_sinks, 2);
  EXPECT_EQ(index.documents, read_token_file(options_.tokens).document_sha256);
  const nlohmann::json source = nlohmann::json::parse(index.source);
  EXPECT_EQ(source["token_file"]["sha256"], sha256_of_file(options_.tokens));
  EXPECT_EQ(source["text"]["seed"], 7);
  EXPECT_EQ(source["compute"]["dtype"], "float32");
  const auto dataset = PairedDataset::open(folder());
  EXPECT_EQ(dataset->document(3), 1);
  EXPECT_EQ(dataset->label(2), 2);
}

TEST_F(CaptureTest, StoresEveryDtype) {
  for (const auto& [dtype, tolerance] :
       {std::pair{"float16", std::ldexp(1.0, -11)}, {"bfloat16", std::ldexp(1.0, -8)}}) {
    std::filesystem::remove_all(folder());
    options_.dtype = dtype;
    run();
    expect_caches(tolerance);
  }
}

TEST_F(CaptureTest, AlignsTwoTokenisers) {
  write_tokens(make_test_tokens({5, 3, 9, 4, 6}, kVocabulary, {4, 7, 2, 8, 6}));
  EXPECT_EQ(run().progress.tokens_done, 27 + 27);
  expect_caches(kRounding);
  const auto dataset = PairedDataset::open(folder());
  EXPECT_TRUE(dataset->has_alignment());
  EXPECT_EQ(dataset->sender_length(3), 8);
}

TEST_F(CaptureTest, GoesOnWhereItWasStopped) {
  int passes = 0;
  const CaptureResult stopped = run({.stop_requested = [&] { return ++passes > 3; }});
  EXPECT_TRUE(stopped.interrupted);
  EXPECT_EQ(stopped.shards_written, 1);  // shard 1 had its sender's pass alone
  EXPECT_THROWS_WITH(PairedDataset::open(folder()), "index.json: no such file");
  CaptureProgress last;
  const CaptureResult whole =
      run({.on_progress = [&](const CaptureProgress& progress) { last = progress; }});
  EXPECT_EQ(whole.shards_kept, 1);
  EXPECT_EQ(whole.shards_written, 2);
  EXPECT_EQ(last.tokens_done, 2 * (27 - 8));
  EXPECT_GT(last.tokens_per_s, 0);
  expect_caches(kRounding);
  EXPECT_EQ(run().shards_kept, 3);
  options_.dtype = "float16";
  EXPECT_THROWS_WITH(run(), "holds a capture of other models, tokens or options");
}

TEST_F(CaptureTest, ChecksItsInputs) {
  CaptureOptions wrong = options_;
  wrong.sender.clear();
  EXPECT_THROWS_WITH(capture(wrong, folder()), "'sender' is required");
  write_tokens(make_test_tokens({50, 50}, 200));
  EXPECT_THROWS_WITH(run(), "expected token ids below 64, the vocabulary of llama, got");
}

}  // namespace
}  // namespace kvalign
