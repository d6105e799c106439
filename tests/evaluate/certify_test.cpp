// Certificates of whole evaluations: what is proved against what is measured, on generated flat
// data with labels and on tiny decoders; and every check that must fire.
#include "kvalign/evaluate/evaluate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "kvalign/core/safetensors.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/dataset/generator.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/evaluate/tiny_ladder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

class CertifyTest : public ::testing::Test {
 protected:
  CertifyTest() {
    generate("data", 1, 3);
    recipe_.device = "cpu";
    recipe_.split = {.validation = 0.2, .test = 0.3};
    options_.bootstrap_resamples = 50;
    options_.baselines = {};
    options_.certify.sequences = 100;
    options_.certify.tokens = 0;
  }

  void generate(const char* folder, int64_t sequences_per_document, int64_t num_classes) {
    GeneratorOptions options;
    options.sender.head_dim = 6;
    options.receiver.head_dim = 10;
    options.num_sequences = 60;
    options.sequences_per_document = sequences_per_document;
    options.tokens_per_sequence = 7;
    options.shared_factors = 4;
    options.private_factors = 2;
    options.num_classes = num_classes;
    recipe_.dataset.folder = folder_.file(folder);
    generate_paired_dataset(options, recipe_.dataset.folder);
  }

  std::string save(const std::string& name, const ProjectorOptions& projector) {
    const auto dataset = PairedDataset::open(recipe_.dataset.folder);
    const DatasetIndex& index = dataset->index();
    const std::string path = folder_.file(name + ".safetensors");
    save_checkpoint(path, {.projector = std::make_shared<KvProjector>(
                               projector, index.sender.geometry, index.receiver.geometry),
                           .recipe = "{}",
                           .dataset_sha256 = dataset->sha256(),
                           .split_sha256 = split_by_sequence(*dataset, recipe_.split).sha256});
    return path;
  }

  static ProjectorOptions plain(const std::string& kind, const std::string& norm = "auto") {
    return {.kind = kind,
            .norm = norm,
            .hidden_size = 8,
            .rank = 3,
            .standardise_features = false,
            .standardise_targets = false};
  }

  CertificateReport certify() { return *evaluate(recipe_, options_).certificates; }

  TemporaryFolder folder_;
  Recipe recipe_;
  EvaluateOptions options_;
};

TEST_F(CertifyTest, BoundsOfEveryKindHold) {
  options_.checkpoints = {"v1=" + save("v1", plain("linear_residual")),
                          "v2=" + save("v2", plain("mlp")),
                          "plain=" + save("plain", plain("linear_residual", "none")),
                          "plain e5m2=" + folder_.file("plain.safetensors@float8_e5m2/token"),
                          "residual=" + save("residual", plain("residual_mlp", "none")),
                          "latent=" + save("latent", plain("low_rank", "none"))};
  const CertificateReport report = certify();
  ASSERT_EQ(report.rows.size(), 6);
  for (const CertificateRow& row : report.rows) {
    SCOPED_TRACE(row.row);
    EXPECT_EQ(row.violations, 0);
    EXPECT_EQ(row.sequences, 18);
    EXPECT_EQ(row.tokens, 18 * 7);
    const StreamCertificateFigures& stream = row.streams.at(0);
    EXPECT_GT(stream.measured.p50, 0);
    EXPECT_GT(stream.certified.p50, stream.measured.p50);
    EXPECT_GE(stream.certified.max, stream.measured.max);
    EXPECT_LT(stream.certified.p50, 30 * stream.measured.p50);
    EXPECT_LT(row.numeric, 1e-4);
    EXPECT_GE(row.quantisation_certified.p50, row.quantisation_measured.p50);
    ASSERT_TRUE(row.decisions.has_value());
    EXPECT_EQ(row.decisions->certified_disagreements, 0);
    EXPECT_EQ(row.decisions->sequences, 18);
    EXPECT_GE(row.decisions->task_distortion_upper,
              static_cast<double>(row.decisions->disagreements) / 18);
  }
  // E4M3's largest relative error is 1/17, E5M2's 1/9.
  EXPECT_LT(report.rows[0].quantisation_measured.max, 1.0 / 17);
  EXPECT_EQ(report.rows[3].wire, "float8_e5m2/token");
  EXPECT_GT(report.rows[3].quantisation_measured.max, 1.0 / 17);
  EXPECT_LT(report.rows[3].quantisation_measured.max, 1.0 / 9);
  EXPECT_EQ(report.gate.verdict, Verdict::kPassed);
  EXPECT_EQ(report.statements, 6 * 7);
}

// By hand: one linear stream without a norm, in plain tensors.
TEST_F(CertifyTest, FiguresAreThoseOfPlainTensors) {
  options_.checkpoints = {"plain=" + save("plain", plain("linear_residual", "none"))};
  const CertificateRow row = certify().rows.at(0);
  const auto dataset = PairedDataset::open(recipe_.dataset.folder);
  const std::vector<int64_t> test = split_by_sequence(*dataset, recipe_.split).test;
  const auto weights =
      load_checkpoint(folder_.file("plain.safetensors")).projector->projector().named_parameters();
  const at::Tensor weight_DF = weights["linear.weight"][0].detach().to(at::kDouble);
  std::vector<at::Tensor> moves, distances;
  for (const int64_t sequence : test) {
    const PairedBatch batch = dataset->read({sequence});
    const at::Tensor exact_TF = batch.sender_STd[0];
    const at::Tensor scale_T1 = exact_TF.abs().amax(1, true) / 448;
    const at::Tensor arrived_TF =
        (exact_TF / scale_T1).to(at::kFloat8_e4m3fn).to(at::kFloat) * scale_T1;
    const at::Tensor difference_TF = exact_TF.to(at::kDouble) - arrived_TF.to(at::kDouble);
    moves.push_back(at::linalg_vector_norm(difference_TF.mm(weight_DF.t()), 2, {1}));
    distances.push_back(
        at::linalg_vector_norm(batch.receiver_RTD[0].to(at::kDouble) -
                                   at::linear(arrived_TF.to(at::kDouble), weight_DF,
                                              weights["linear.bias"][0].detach().to(at::kDouble)),
                               2, {1}));
  }
  const at::Tensor move_T = at::cat(moves);
  EXPECT_NEAR(row.streams[0].measured.max, move_T.max().item<double>(), 1e-9);
  EXPECT_NEAR(row.streams[0].measured.p50,
              std::get<0>(move_T.sort())[(move_T.numel() + 1) / 2 - 1].item<double>(), 1e-9);
  EXPECT_NEAR(row.streams[0].projection, at::cat(distances).mean().item<double>(), 1e-9);
}

// An affine map fitted on the very tokens comes no lower than the floor says, and a rank below the
// features' leaves one.
TEST_F(CertifyTest, NoFitOfTheTokensThemselvesIsBelowTheFloor) {
  options_.checkpoints = {"latent=" + save("latent", plain("low_rank", "none"))};
  const CertificateRow row = certify().rows.at(0);
  const auto dataset = PairedDataset::open(recipe_.dataset.folder);
  const PairedBatch batch = dataset->read(split_by_sequence(*dataset, recipe_.split).test);
  const at::Tensor true_TD = batch.receiver_RTD[0].to(at::kDouble);
  const at::Tensor centred_TD = true_TD - true_TD.mean(0, true);
  const at::Tensor singular = std::get<1>(at::linalg_svd(centred_TD, false));
  const double tail = singular.narrow(0, 3, singular.size(0) - 3).square().sum().item<double>();
  const double best = tail / static_cast<double>(true_TD.numel());
  EXPECT_NEAR(row.streams[0].floor, best, 1e-9 * (1 + best));
  EXPECT_GT(row.streams[0].floor, 0);
  EXPECT_NEAR(row.largest_r2, 1 - tail / centred_TD.square().sum().item<double>(), 1e-9);
}

TEST_F(CertifyTest, TheTaskGateTellsTooFewFromTooMany) {
  options_.checkpoints = {"v1=" + save("v1", plain("linear_residual"))};  // untrained
  options_.certify.max_task_distortion = 0;
  EXPECT_EQ(certify().gate.verdict, Verdict::kFailed);
  options_.certify.max_task_distortion = 0.999;
  const CertificateReport report = certify();
  EXPECT_EQ(report.gate.verdict, Verdict::kInconclusive);
  EXPECT_THAT(report.gate.why, ::testing::HasSubstr("too few sequences"));
}

TEST_F(CertifyTest, RefusesAGateOnDecisionsThatAreNotCertified) {
  options_.checkpoints = {"v1=" + save("v1", plain("linear_residual"))};
  options_.certify.max_task_distortion = 0.5;
  options_.certify.tokens = 3;
  EXPECT_THROWS_WITH(certify(), "expected a dataset with labels of two classes or more");
  options_.certify.tokens = 0;
  options_.certify.sequences = 0;
  EXPECT_THROWS_WITH(evaluate(recipe_, options_), "got labels, sequences 0 and tokens 0");
}

TEST_F(CertifyTest, SaysWhichRowsHaveNoCertificate) {
  ProjectorOptions half = plain("low_rank", "none");
  half.latent_wire = "float16";
  options_.checkpoints = {"half=" + save("half", half)};
  const CertificateReport report = certify();
  EXPECT_TRUE(report.rows.empty());
  EXPECT_THAT(report.absent,
              ::testing::ElementsAre("half: its latent is sent as float16, not in FP8"));
}

TEST_F(CertifyTest, LatentsBeyondTheirScaleAreCountedAndNeverBounded) {
  ProjectorOptions options = plain("low_rank", "none");
  const std::string path = save("latent", options);
  Checkpoint checkpoint = load_checkpoint(path);
  {
    const at::NoGradGuard no_gradients;
    checkpoint.projector->projector().named_parameters()["encoder.bias"].fill_(40);  // 28 is most
  }
  save_checkpoint(path, checkpoint);
  options_.checkpoints = {"latent=" + path};
  const CertificateRow row = certify().rows.at(0);
  EXPECT_EQ(row.unbounded, 18 * 7 * 3);
  EXPECT_TRUE(std::isinf(row.streams[0].certified.p50));
  EXPECT_EQ(row.streams[0].vacuous, 1);
  EXPECT_EQ(row.violations, 0);
  EXPECT_EQ(row.decisions->certified_quantisation, 0);
}

// Sequences of one document are no independent trials.
TEST_F(CertifyTest, LimitsCountTheFirstSequenceOfEachDocument) {
  generate("documents", 3, 2);
  options_.checkpoints = {"v1=" + save("v1", plain("linear_residual"))};
  const CertificateRow row = certify().rows.at(0);
  EXPECT_EQ(row.decisions->sequences, 18);
  EXPECT_EQ(row.decisions->documents, 6);
  EXPECT_EQ(row.projection->documents, 6);
  EXPECT_GT(row.decisions->task_distortion_upper - row.decisions->task_distortion_lower, 0.3);
}

// What bounds all streams together does not where each stream is divided by a number of its own.
TEST(CertifyFloors, SayNothingOfStreamsWithNormsOfTheirOwn) {
  testing::TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.certify = {.sequences = 1, .tokens = 2};
  const auto dataset = PairedDataset::open(tiny.recipe.dataset.folder);
  const auto save = [&](const std::string& norm) {
    const std::string path = tiny.folder.file(norm + ".safetensors");
    save_checkpoint(path,
                    {.projector = std::make_shared<KvProjector>(
                         ProjectorOptions{.norm = norm,
                                          .standardise_features = false,
                                          .standardise_targets = false,
                                          .layer_map = {.kind = "top_k", .layers = {0, 0, 0}}},
                         dataset->index().sender.geometry, dataset->index().receiver.geometry),
                     .recipe = "{}",
                     .dataset_sha256 = dataset->sha256(),
                     .split_sha256 = split_by_sequence(*dataset, tiny.recipe.split).sha256,
                     .num_sinks = 2,
                     .skip_first_tokens = 2});
    return path;
  };
  tiny.evaluate.checkpoints = {"rms=" + save("rms"), "latent=" + tiny.save_low_rank_checkpoint(2)};
  const CertificateReport report = *evaluate(tiny.recipe, tiny.evaluate).certificates;
  EXPECT_EQ(report.rows[0].largest_r2, 1);
  EXPECT_LT(report.rows[1].largest_r2, 1);
}

CertificateReport hand_made(int64_t violations, double lower, double upper) {
  CertificateRow row{.row = "v1", .violations = violations};
  row.decisions = DecisionFigures{
      .base_distortion = 0.1, .task_distortion_lower = lower, .task_distortion_upper = upper};
  return {.rows = {row}};
}

TEST(CertificateGate, FailsOnOneBoundThatIsExceeded) {
  EXPECT_EQ(judge_certificates(hand_made(0, 0, 1), 1).verdict, Verdict::kPassed);
  const CertificateGate gate = judge_certificates(hand_made(1, 0, 1), 1);
  EXPECT_EQ(gate.verdict, Verdict::kFailed);
  EXPECT_THAT(gate.why, ::testing::HasSubstr("1 measured figures exceed their certified bounds"));
  CertificateReport disagreed = hand_made(0, 0, 1);
  disagreed.rows[0].decisions->certified_disagreements = 1;
  EXPECT_EQ(judge_certificates(disagreed, 1).verdict, Verdict::kFailed);
}

TEST(CertificateGate, ComparesBothEndsOfTheIntervalWithTheLimit) {
  EXPECT_EQ(judge_certificates(hand_made(0, 0.01, 0.05), 0.2).verdict, Verdict::kPassed);
  EXPECT_EQ(judge_certificates(hand_made(0, 0.01, 0.15), 0.2).verdict, Verdict::kInconclusive);
  EXPECT_EQ(judge_certificates(hand_made(0, 0.12, 0.15), 0.2).verdict, Verdict::kFailed);
  EXPECT_EQ(judge_certificates({}, 0.2).verdict, Verdict::kInconclusive);
  CertificateReport without = hand_made(0, 0, 1);
  without.rows[0].decisions.reset();
  EXPECT_THROWS_WITH(judge_certificates(without, 0.2), "expected decisions of v1");
}

TEST_F(CertifyTest, ReportsHaveAllThreeForms) {
  options_.checkpoints = {"v1=" + save("v1", plain("linear_residual"))};
  const Report report = evaluate(recipe_, options_);
  const nlohmann::json json = to_json(report)["certificates"];
  EXPECT_EQ(json["rows"][0]["row"], "v1");
  EXPECT_EQ(json["rows"][0]["violations"], 0);
  EXPECT_EQ(json["gate"]["verdict"], "passed");
  EXPECT_TRUE(json["rows"][0]["attention"].is_null());
  EXPECT_THAT(to_markdown(report), ::testing::HasSubstr("### Streams of v1"));
  EXPECT_THAT(to_text(report), ::testing::HasSubstr("Certificates: PASS"));
  EXPECT_THAT(to_text(report), ::testing::HasSubstr("with its own numbers 5.76"));
}

TEST(CertifyAttention, BoundsHoldOnTinyDecoders) {
  testing::TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.certify = {
      .sequences = 2, .tokens = 4, .receiver = tiny.options.receiver, .queries = 3};
  tiny.evaluate.checkpoints.push_back("latent=" + tiny.save_low_rank_checkpoint(6));
  const CertificateReport report = *evaluate(tiny.recipe, tiny.evaluate).certificates;
  for (const CertificateRow& row : report.rows) {
    SCOPED_TRACE(row.row);
    EXPECT_EQ(row.violations, 0);
    EXPECT_EQ(row.tokens, 8);
    EXPECT_FALSE(row.decisions.has_value());
    ASSERT_TRUE(row.attention_wire && row.attention_whole);
    for (const AttentionFigures* figures : {&*row.attention_wire, &*row.attention_whole}) {
      EXPECT_EQ(figures->queries, 6);
      for (const AttentionLayerFigures& layer : figures->layers) {
        EXPECT_GT(layer.measured.p50, 0);
        EXPECT_GE(layer.certified.p50, layer.measured.p50);
        EXPECT_GE(layer.c_certified.p50, layer.c_measured.p50);
      }
    }
  }
}

TEST(CertifyAttention, RefusesAnotherReceiverAndTooManyQueries) {
  testing::TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.certify = {.sequences = 1, .receiver = tiny.options.sender};
  EXPECT_THROWS_WITH(evaluate(tiny.recipe, tiny.evaluate),
                     "expected evaluate.certify.receiver to be the dataset's");
  tiny.evaluate.certify = {.sequences = 1, .receiver = tiny.options.receiver, .queries = 22};
  EXPECT_THROWS_WITH(evaluate(tiny.recipe, tiny.evaluate),
                     "expected sequences of more tokens than evaluate.certify.queries");
}

// The same geometry, other weights.
TEST(CertifyAttention, RefusesAModelThatDidNotMakeTheCaches) {
  testing::TinyLadder tiny("llama", "qwen3");
  const std::string other = tiny.folder.file("other");
  std::filesystem::copy(tiny.options.receiver, other, std::filesystem::copy_options::recursive);
  const std::string weights = other + "/model-00001-of-00003.safetensors";
  const SafetensorsFile file = SafetensorsFile::open(weights);
  std::vector<NamedTensor> tensors;
  for (const auto& [name, info] : file.tensors()) {
    const at::Tensor tensor = file.tensor(name);
    tensors.push_back({name, (tensor.to(at::kFloat) * 1.5).to(tensor.scalar_type())});
  }
  write_safetensors(weights, tensors, {});
  tiny.evaluate.certify = {.sequences = 1, .tokens = 4, .receiver = other};
  EXPECT_THROWS_WITH(evaluate(tiny.recipe, tiny.evaluate), "Give the model that was captured");
}

}  // namespace
}  // namespace kvalign
