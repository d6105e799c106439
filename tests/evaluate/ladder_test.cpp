// Whole ladders on tiny random models: rows that must agree do, faults are reported, runs resume,
// and what does not belong together is refused.
#include "kvalign/evaluate/ladder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <set>

#include "kvalign/core/files.h"
#include "kvalign/core/sha256.h"
#include "kvalign/dataset/token_file.h"
#include "kvalign/ops/fp8_wire.h"
#include "kvalign/train/distiller.h"
#include "planted_faults.h"
#include "tests/support/throws.h"
#include "tiny_ladder.h"

namespace kvalign::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Ladder, FullGrid) {
  TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.baselines = {"mean", "pad"};
  const LadderReport report = tiny.open().climb();
  EXPECT_THAT(
      names_of(report),
      ElementsAre("text", "true cache", "linear + sinks", "linear", "linear + sinks + last 3",
                  "linear + last 3", "pad + sinks", "pad", "pad + sinks + last 3", "pad + last 3",
                  "mean + sinks", "mean", "mean + sinks + last 3", "mean + last 3",
                  "wrong document + sinks", "wrong document", "wrong document + sinks + last 3",
                  "wrong document + last 3", "sinks alone", "sinks + last 3", "no cache",
                  "sender alone"));
  EXPECT_EQ(report.sequences, 8);
  EXPECT_EQ(report.documents, 4);
  EXPECT_EQ(report.left_out_seen, 2);
  EXPECT_EQ(report.gate.row, "linear + sinks");
  EXPECT_EQ(report.timed_sequences, 3);
  EXPECT_GT(report.sender_prefill_ms, 0);
  for (const LadderRow& row : report.rows) {
    EXPECT_GT(row.all.nll, 0) << row.row;
    EXPECT_GT(row.all.nats_per_byte, 0) << row.row;
    EXPECT_GT(row.milliseconds.continuation, 0) << row.row;
    const bool measured = report.energy_source.rfind("not measured: ", 0) != 0;
    const double joules = row.joules.continuation;
    EXPECT_TRUE(std::isnan(joules) || (measured && joules >= 0)) << row.row << ": " << joules;
  }
  // A float32 round trip of the true cache, and continuing instead of re-reading.
  EXPECT_NEAR(row_of(report, "true cache").all.nll, row_of(report, "text").all.nll, 1e-5);
  EXPECT_NEAR(row_of(report, "true cache").kl, 0, 1e-6);
  EXPECT_GT(row_of(report, "linear + sinks").kl, 0.01);
  EXPECT_TRUE(report.warnings.empty() || report.warnings.size() == 1);
}

TEST(Ladder, ShortGridShortensAllButTheFirstCheckpoint) {
  TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.baselines = {"pad"};
  tiny.options.grid = "short";
  EXPECT_THAT(names_of(tiny.open().climb()),
              ElementsAre("text", "true cache", "linear + sinks", "linear",
                          "linear + sinks + last 3", "pad + sinks", "wrong document + sinks",
                          "wrong document", "wrong document + sinks + last 3", "sinks alone",
                          "sinks + last 3", "no cache", "sender alone"));
}

TEST(Ladder, WithoutSinksThereIsOneColumnLess) {
  TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.baselines = {};
  tiny.options.sinks = 0;
  const LadderReport report = tiny.open().climb();
  EXPECT_THAT(names_of(report),
              ElementsAre("text", "true cache", "linear", "linear + last 3", "wrong document",
                          "wrong document + last 3", "last 3 alone", "no cache", "sender alone"));
  EXPECT_EQ(report.gate.row, "linear");
  EXPECT_THAT(report.warnings.front(), HasSubstr("The first 2 tokens were left out of every fit"));
}

// Sender and receiver are one model and the projector is the identity: the projected cache is the
// true one, with and without exact sinks, and re-reading changes nothing.
TEST(Ladder, IdentityProjectionOfOneModelIsTheTrueCache) {
  for (const bool one_tokenizer : {true, false}) {
    TinyLadder tiny("llama", "llama", one_tokenizer);
    tiny.evaluate.baselines = {"truncate"};
    tiny.save_checkpoint_of(/*identity=*/true);
    const LadderReport report = tiny.open().climb();
    const double truth = row_of(report, "true cache").all.nll;
    if (!one_tokenizer) {  // The sender has read other tokens.
      EXPECT_GT(std::abs(row_of(report, "linear").all.nll - truth), 1e-3);
      EXPECT_TRUE(std::isnan(row_of(report, "sender alone").kl));
      continue;
    }
    for (const char* row : {"linear", "linear + sinks", "linear + last 3", "truncate",
                            "linear + sinks + last 3", "sender alone"}) {
      EXPECT_NEAR(row_of(report, row).all.nll, truth, 1e-5) << row;
      EXPECT_NEAR(row_of(report, row).first.nll, truth, 1e-5) << row;  // m = 10 < 16
      EXPECT_EQ(row_of(report, row).all.top1, row_of(report, "text").all.top1) << row;
      EXPECT_NEAR(row_of(report, row).kl, 0, 1e-6) << row;
    }
    EXPECT_GT(std::abs(row_of(report, "wrong document").all.nll - truth), 1e-3);
    EXPECT_FALSE(report.gate.passed);  // as good as the sender is not better
  }
}

// Each row of the last sequence against passes of the decoder alone.
TEST(Ladder, RowsAreWhatTheDecoderSays) {
  TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.baselines = {};
  const LadderReport report = tiny.open().climb();
  const TokenFile tokens = read_token_file(tiny.options.tokens);
  const Decoder receiver = Decoder::load(tiny.options.receiver);
  double start = 0, none = 0;
  for (int64_t sequence = 2; sequence < 10; ++sequence) {
    const at::Tensor ids = tokens.receiver.sequence(sequence).token_ids.to(at::kLong);
    const auto nll_after = [&](const at::Tensor& consumed) {
      const at::Tensor logits =
          receiver.forward({.token_ids_BT = consumed.unsqueeze(0), .num_logits = 10}).logits_BTV[0];
      const at::Tensor targets = ids.narrow(0, 14, 10).unsqueeze(1);
      return -logits.log_softmax(1).gather(1, targets).mean().item<double>() / 8;
    };
    start += nll_after(at::cat({ids.narrow(0, 0, 2), ids.narrow(0, 10, 13)}));
    none += nll_after(ids.narrow(0, 13, 10));
  }
  EXPECT_NEAR(row_of(report, "sinks + last 3").all.nll, start, 1e-5);
  EXPECT_NEAR(row_of(report, "no cache").all.nll, none, 1e-5);
}

TEST(Ladder, BytesThatCrossTheNetwork) {
  TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.baselines = {"mean"};
  tiny.options.wire = "float16";
  const LadderReport report = tiny.open().climb();
  const TokenFile tokens = read_token_file(tiny.options.tokens);
  double sinks = 0, last = 0, last_four = 0, all = 0;  // text of the prefix's parts
  for (int64_t sequence = 2; sequence < 10; ++sequence) {
    const at::Tensor ends = tokens.receiver.sequence(sequence).ends.to(at::kDouble);
    const auto end = [&](int64_t token) { return ends[token].item<double>() / 8; };
    sinks += end(1);
    last += end(13) - end(12);
    last_four += end(13) - end(9);
    all += end(13);
  }
  const auto bytes = [&](const char* row) { return row_of(report, row).bytes_per_token * 14; };
  // Keys and values of 3 layers, 2 bytes an element; 16 and 32 wide.
  EXPECT_NEAR(bytes("true cache"), 13 * 2 * 3 * 32 * 2 + last, 1e-9);
  EXPECT_NEAR(bytes("linear"), 13 * 2 * 3 * 16 * 2 + last, 1e-9);
  EXPECT_NEAR(bytes("linear + sinks"), 11 * 2 * 3 * 16 * 2 + sinks + last, 1e-9);
  EXPECT_NEAR(bytes("linear + sinks + last 3"), 8 * 2 * 3 * 16 * 2 + sinks + last_four, 1e-9);
  EXPECT_NEAR(bytes("mean + sinks"), sinks + last, 1e-9);
  EXPECT_NEAR(bytes("sinks + last 3"), sinks + last_four, 1e-9);
  EXPECT_NEAR(bytes("no cache"), last, 1e-9);
  EXPECT_NEAR(bytes("text"), all, 1e-9);
  EXPECT_EQ(bytes("sender alone"), 0);
}

TEST(Ladder, EveryPlantedFaultIsReported) {
  TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.baselines = {};
  tiny.options.reread = {0};
  const Ladder ladder = tiny.open();
  const Decoder receiver = Decoder::load(tiny.options.receiver);
  Random random(5);
  const KvCache other =
      *receiver.forward({.token_ids_BT = tiny_side(14, 14, random).token_ids.unsqueeze(0)}).cache;
  for (const PlantedFault& fault : planted_faults(other)) {
    const LadderReport report = ladder.climb({.transport = fault.transport});
    EXPECT_FALSE(report.gate.passed) << fault.name;
    EXPECT_THAT(report.gate.why, HasSubstr("The true cache does not match the text row"))
        << fault.name;
    EXPECT_FALSE(report.warnings.empty()) << fault.name;
  }
}

TEST(Ladder, IdentityOfBothSidesAndTheDataset) {
  for (const bool one_tokenizer : {true, false}) {
    const TinyLadder tiny("llama", "qwen3", one_tokenizer);
    const std::vector<GateResult> gates = tiny.open().check_identity();
    ASSERT_EQ(gates.size(), 4);
    for (const GateResult& gate : gates) EXPECT_TRUE(gate.passed) << gate.why;
    EXPECT_EQ(gates[0].gate + " " + gates[0].side, "own cache receiver");
    EXPECT_EQ(gates[1].gate + " " + gates[1].side, "dataset receiver");
    EXPECT_EQ(gates[2].gate + " " + gates[2].side, "own cache sender");
    EXPECT_EQ(gates[3].gate + " " + gates[3].side, "dataset sender");
    EXPECT_GE(gates[0].num_tokens, 40);
  }
}

TEST(Ladder, TwoTokenizersCompareBytes) {
  TinyLadder tiny("llama", "qwen3", /*one_tokenizer=*/false);
  tiny.evaluate.baselines = {};
  const LadderReport report = tiny.open().climb();
  EXPECT_FALSE(report.one_tokenizer);
  for (const LadderRow& row : report.rows) EXPECT_GT(row.all.nats_per_byte, 0) << row.row;
  std::set<std::string> units;
  for (const LadderDifference& difference : report.differences) {
    if (difference.against == "sender alone") units.insert(difference.unit);
  }
  EXPECT_EQ(units, std::set<std::string>{"nats a byte"});
}

// From the pairs to a row of the ladder: closed form with the attention metric, then descent
// through the frozen receiver and the FP8 latent.
TEST(Ladder, AFitThroughTheReceiverBringsItNearerToItsTrueCache) {
  TinyLadder tiny("llama", "qwen3");
  Recipe recipe = tiny.recipe;
  recipe.projector = {
      .kind = "low_rank", .rank = 4, .layer_map = {.kind = "all", .features = "both"}};
  recipe.fit = {.kind = "ridge",
                .statistics = tiny.folder.file("sums"),
                .lambda = 1,
                .metric = "attention",
                .receiver = tiny.options.receiver};
  recipe.loss = {.mse = 0,
                 .cosine = 0,
                 .task = 0,
                 .kl = 1,
                 .receiver = tiny.options.receiver,
                 .continuation_tokens = 9};
  recipe.train = {.epochs = 4, .learning_rate = 3e-3};
  recipe.run_folder = tiny.folder.file("closed");
  const std::string closed = distill(recipe).checkpoint;
  recipe.fit.kind = "ridge_then_adamw";
  recipe.run_folder = tiny.folder.file("descent");
  const DistillResult result = distill(recipe);
  EXPECT_EQ(result.epochs, 4);
  tiny.evaluate.checkpoints = {"closed=" + closed, "descent=" + result.checkpoint};
  tiny.evaluate.baselines = {};
  const LadderReport report = tiny.open().climb();
  EXPECT_LT(row_of(report, "descent + sinks").kl, row_of(report, "closed + sinks").kl);
  EXPECT_EQ(report.gate.row, "closed + sinks");
  tiny.options.judge = "descent";
  EXPECT_EQ(tiny.open().climb().gate.row, "descent + sinks");
  tiny.options.judge = "decent";
  EXPECT_THROWS_WITH(tiny.open().climb(), "got 'decent'; known: closed, descent");
  recipe.loss.receiver = tiny.options.sender;
  recipe.run_folder = tiny.folder.file("wrong");
  EXPECT_THROWS_WITH(distill(recipe), "is not the receiver of the dataset");
  recipe.loss.receiver = "";
  recipe.run_folder = tiny.folder.file("none");
  EXPECT_THROWS_WITH(distill(recipe), "expected loss.receiver");
}

TEST(Ladder, LatentsCrossInTheirOwnBytesAndSmallerRanksAreRowsOfTheirOwn) {
  TinyLadder tiny("llama", "qwen3");
  const std::string path = tiny.save_low_rank_checkpoint(6);
  tiny.evaluate.checkpoints.push_back("latents=" + path);
  tiny.evaluate.checkpoints.push_back("two=" + path + "#2");
  tiny.evaluate.baselines = {};
  const LadderReport report = tiny.open().climb();
  // 11 cached tokens, and the text of 2 sinks and of the last token.
  const LadderRow &six = row_of(report, "latents + sinks"), two = row_of(report, "two + sinks");
  EXPECT_EQ(six.wire, "float8_e4m3fn");
  EXPECT_NEAR((six.bytes_per_token - two.bytes_per_token) * 14, 11 * (6 - 2), 1e-9);
  EXPECT_NE(six.all.nll, two.all.nll);
  EXPECT_THAT(two.text, HasSubstr("rank 2 sent as float8_e4m3fn"));
  for (const char* odd : {"#0", "#x", "#", "#-1"}) {
    tiny.evaluate.checkpoints.back() = path + odd;
    EXPECT_THROWS_WITH(tiny.open(), "expected a rank after '#'");
  }
  tiny.evaluate.checkpoints.back() = path + "#7";
  EXPECT_THROWS_WITH(tiny.open(), "expected 1 .. 6, got 7");
}

TEST(Ladder, CachesInFp8AreRowsOfTheirOwn) {
  TinyLadder tiny("llama", "qwen3");
  const std::string path = tiny.folder.file("checkpoint.safetensors");
  for (const std::string& wire : fp8_wire_names()) {
    tiny.evaluate.checkpoints.push_back(wire + "=" + path + "@" + wire);
  }
  tiny.evaluate.baselines = {};
  const LadderReport report = tiny.open().climb();
  const KvGeometry sender = Decoder::load(tiny.options.sender).geometry();
  const LadderRow& whole = row_of(report, "linear + sinks");
  for (const std::string& name : fp8_wire_names()) {
    const LadderRow& row = row_of(report, name + " + sinks");
    EXPECT_EQ(row.wire, name);
    EXPECT_THAT(row.text, HasSubstr("cache sent as " + name));
    EXPECT_NE(row.all.nll, whole.all.nll) << name;
    EXPECT_NEAR(row.all.nll, whole.all.nll, 0.1) << name;
    // 11 cached tokens that were float32, and the scales of one cache.
    const Fp8WireBytes bytes = fp8_wire_bytes(parse_fp8_wire(name), 2 * sender.num_layers,
                                              sender.width(), sender.num_kv_heads);
    const double fewer = 11.0 * 2 * sender.num_layers * sender.width() * 4 -
                         11.0 * static_cast<double>(bytes.per_token) -
                         static_cast<double>(bytes.once);
    EXPECT_NEAR((whole.bytes_per_token - row.bytes_per_token) * 14, fewer, 1e-6) << name;
  }
}

TEST(Ladder, RefusesWiresThatThereAreNot) {
  TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.checkpoints.push_back(tiny.folder.file("checkpoint.safetensors") + "@float8");
  EXPECT_THROWS_WITH(tiny.open(), "after '@' expected a type in which a cache is sent");
  tiny.evaluate.checkpoints.back() = tiny.save_low_rank_checkpoint(6) + "@float8_e5m2/head";
  EXPECT_THROWS_WITH(tiny.open(), "sends a latent as float8_e4m3fn, not the cache");
}

TEST(Ladder, RefusesWhatIsNotHeldOut) {
  TinyLadder tiny("llama", "qwen3");
  std::string known;
  tiny.edit_metadata([&](nlohmann::json& metadata) {
    known = metadata["documents"][0];
    for (int document : {1, 2, 3}) metadata["documents"][document] = known;
  });
  EXPECT_THROWS_WITH(tiny.open(),
                     "expected held-out sequences of at least 2 documents, got 2 sequences of 1; 8 "
                     "are of documents that training or validation has seen, 0 have fewer");
  tiny.options.prefix_tokens = 15;
  EXPECT_THROWS_WITH(tiny.open(), "prefix_tokens + continuation_tokens = 25 tokens");
}

TEST(Ladder, RefusesAnotherTokenizer) {
  TinyLadder tiny("llama", "qwen3");
  tiny.edit_metadata([](nlohmann::json& metadata) {
    metadata["tokenizers"] = {{"sender", sha256_hex("other")}, {"receiver", sha256_hex("other")}};
  });
  EXPECT_THROWS_WITH(tiny.open(), "its sender tokens are of another tokenizer (SHA-256 ");
  EXPECT_THROWS_WITH(tiny.open(), "Tokenise the text with the tokenizer of llama");
}

TEST(Ladder, RefusesAnotherModel) {
  TinyLadder tiny("llama", "qwen3");
  tiny.options.receiver = tiny.options.sender;
  EXPECT_THROWS_WITH(tiny.open(),
                     "is not the model of the dataset (qwen3): head_dim 8 instead of "
                     "16");
  EXPECT_THROWS_WITH(tiny.open(), "rope.theta 500000.0 instead of 10000.0");
}

TEST(Ladder, RefusesDatasetsWithoutHashes) {
  TinyLadder tiny("llama", "qwen3");
  const std::string path = tiny.recipe.dataset.folder + "/index.json";
  nlohmann::json index = nlohmann::json::parse(read_file(path));
  index.erase("documents");
  write_file_atomically(path, index.dump());
  EXPECT_THROWS_WITH(tiny.open(), "index.json has no 'documents', the SHA-256 of each document");
}

TEST(Ladder, RefusesOptionsThatMeanNothing) {
  TinyLadder tiny("llama", "qwen3");
  const auto refused = [&](auto change, const char* text) {
    LadderOptions options = tiny.options;
    change(options);
    EXPECT_THROWS_WITH(Ladder::open(tiny.recipe, tiny.evaluate, options), text);
  };
  refused([](LadderOptions& o) { o.sender.clear(); }, "expected ladder.sender and ladder.receiver");
  refused([](LadderOptions& o) { o.reread = {3}; }, "expected ladder.reread to begin with 0");
  refused([](LadderOptions& o) { o.reread = {0, 3, 3}; }, "expected ladder.reread to ascend");
  refused(
      [](LadderOptions& o) {
        o.reread = {0, 11};
      },
      "expected tokens between the sinks and the re-read ones, got prefix_tokens 14 with sinks "
      "2, reread 11");
  EvaluateOptions without = tiny.evaluate;
  without.checkpoints.clear();
  EXPECT_THROWS_WITH(Ladder::open(tiny.recipe, without, tiny.options),
                     "expected at least one checkpoint, got none");
  tiny.evaluate.checkpoints[0].replace(0, 6, "text");
  tiny.evaluate.baselines = {};
  tiny.options.sinks = 0;
  EXPECT_THROWS_WITH(tiny.open().climb(), "two rows are named 'text'");
}

}  // namespace
}  // namespace kvalign::testing
