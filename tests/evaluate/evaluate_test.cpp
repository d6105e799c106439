// Whole evaluations of small generated datasets: figures against numpy on the files themselves,
// rows, and every reason to refuse.
#include "kvalign/evaluate/evaluate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/dataset/generator.h"
#include "kvalign/evaluate/html_report.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/support/python.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

GeneratorOptions flat_options() {
  GeneratorOptions options;
  options.sender.head_dim = 6;
  options.receiver.head_dim = 10;
  options.num_sequences = 30;
  options.tokens_per_sequence = 7;
  options.shared_factors = 4;
  options.private_factors = 2;
  return options;
}

GeneratorOptions layered_options() {
  GeneratorOptions options = flat_options();
  options.layout = "layers";
  options.sender = {.num_layers = 2, .num_kv_heads = 2, .head_dim = 8};
  options.receiver = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 16};
  options.tokens_per_sequence = 12;
  options.sequences_per_document = 2;
  return options;
}

class EvaluateTest : public ::testing::Test {
 protected:
  void generate(const GeneratorOptions& options) {
    recipe_.dataset.folder = folder_.file("data");
    generate_paired_dataset(options, recipe_.dataset.folder);
    recipe_.device = "cpu";
    recipe_.run_folder = folder_.file("run");
    recipe_.split.validation = 0.2;
    recipe_.split.test = 0.3;
    options_.bootstrap_resamples = 200;
    options_.batch_tokens = 20;  // several batches
  }

  // A checkpoint of an untrained linear projector, at the path that it returns.
  std::string save(const std::string& name, const SplitOptions& split, int64_t skip = 0) {
    const auto dataset = PairedDataset::open(recipe_.dataset.folder);
    const DatasetIndex& index = dataset->index();
    const std::string path = folder_.file(name + ".safetensors");
    save_checkpoint(
        path, {.projector = std::make_shared<KvProjector>(
                   ProjectorOptions{.standardise_features = false, .standardise_targets = false},
                   index.sender.geometry, index.receiver.geometry),
               .recipe = "{}",
               .dataset_sha256 = dataset->sha256(),
               .split_sha256 = split_by_sequence(*dataset, split).sha256,
               .num_sinks = index.num_sinks,
               .skip_first_tokens = skip});
    return path;
  }

  std::vector<std::string> row_names(const Report& report) {
    std::vector<std::string> names;
    for (const ReportRow& row : report.rows) names.push_back(row.row);
    return names;
  }

  TemporaryFolder folder_;
  Recipe recipe_;
  EvaluateOptions options_;
};

TEST_F(EvaluateTest, FlatRowsAndWhatIsNotShown) {
  generate(flat_options());
  options_.checkpoints = {"v1=" + save("a", recipe_.split)};
  const Report report = evaluate(recipe_, options_);
  EXPECT_THAT(row_names(report),
              ::testing::ElementsAre("v1", "pad", "interpolate", "random", "mean"));
  ASSERT_EQ(report.absent_rows.size(), 1);
  EXPECT_EQ(report.absent_rows[0].row, "truncate");
  EXPECT_EQ(report.absent_rows[0].why, "there is nothing to cut from 6 features to 10");
  EXPECT_EQ(report.data.test_sequences, 9);
  EXPECT_EQ(report.data.test_tokens, 9 * 7);
  EXPECT_EQ(report.data.test_documents, 9);
  EXPECT_EQ(report.rows[0].num_parameters, 6 * 10 + 10 + 2 * 10);
  EXPECT_EQ(report.rows[0].text, "linear_residual, norm layer");
  EXPECT_EQ(report.rows[0].worst_tokens.size(), 10);
  EXPECT_EQ(report.differences.size(), 4 * 4);  // 4 rows, each r2, relative_error, cosine, mse
  EXPECT_TRUE(report.warnings.empty());
}

// The training mean knows nothing of the held-out tokens, so it cannot beat their own mean.
TEST_F(EvaluateTest, MeanRowIsJustBelowR2Zero) {
  generate(flat_options());
  options_.baselines = {"mean"};
  const ReportRow row = evaluate(recipe_, options_).rows.at(0);
  EXPECT_LE(row.headline[0].interval.value, 0);
  EXPECT_GT(row.headline[0].interval.value, -0.5);
}

// numpy reads the shards by itself, pads and measures.
TEST_F(EvaluateTest, PadEqualsNumpyOnTheFiles) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  generate(flat_options());
  recipe_.dataset.skip_first_tokens = 2;
  options_.baselines = {"pad"};
  write_report(evaluate(recipe_, options_), folder_.file("report"));
  const Split split =
      split_by_sequence(*PairedDataset::open(recipe_.dataset.folder), recipe_.split);
  std::string arguments = recipe_.dataset.folder + " " + folder_.file("report/report.json");
  for (const int64_t sequence : split.test) arguments += " " + std::to_string(sequence);
  EXPECT_EQ(run_python(R"(
import json, sys, numpy as np
from pathlib import Path
from safetensors.numpy import load_file
data, report, test = Path(sys.argv[1]), json.load(open(sys.argv[2])), list(map(int, sys.argv[3:]))
sequences = []
for shard in json.load(open(data / "index.json"))["shards"]:
    t = load_file(data / shard["file"])
    for a, b in zip(t["sequence_offsets"][:-1], t["sequence_offsets"][1:]):
        sequences.append([t[side + ".cache"][a + 2:b].astype(np.float64)
                          for side in ("sender", "receiver")])
x, y = (np.concatenate([sequences[s][side] for s in test]) for side in (0, 1))
p = np.pad(x, ((0, 0), (0, 4)))
norm = np.linalg.norm
relative = norm(y - p, axis=-1) / norm(y, axis=-1)
row = report["reconstruction"]["rows"][0]
head = {name: figure["value"] for name, figure in row["headline"].items()}
def equal(got, expected): np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
equal(head["mse"], ((y - p) ** 2).mean())
equal(head["relative_error"], norm(y - p) / norm(y))
equal(head["cosine"], ((y * p).sum(-1) / norm(y, axis=-1) / norm(p, axis=-1)).mean())
equal(head["r2"], 1 - ((y - p) ** 2).sum() / ((y - y.mean(0)) ** 2).sum())
worst = row["worst_tokens"][0]
equal(worst["relative_error"], relative.max())
place = int(relative.argmax())
assert (worst["sequence"], worst["token"]) == (test[place // 5], place % 5 + 2), worst
assert all(f["low"] <= f["value"] <= f["high"] for f in row["headline"].values())
)",
                       arguments),
            0);
}

TEST_F(EvaluateTest, LayeredReportHasKeysValuesAndDocuments) {
  generate(layered_options());
  options_.checkpoints = {save("a", recipe_.split, 4)};
  recipe_.dataset.skip_first_tokens = 4;
  const Report report = evaluate(recipe_, options_);
  const ReportRow& row = report.rows[0];
  EXPECT_EQ(row.headline[0].name, "r2_keys");
  EXPECT_EQ(row.headline[1].name, "r2_values");
  EXPECT_EQ(row.streams.size(), 6);
  ASSERT_EQ(row.groups.size(), 3);
  EXPECT_DOUBLE_EQ(row.groups[0].mean.r2, row.headline[0].interval.value);
  double keys = 0;
  for (int64_t r = 0; r < 3; ++r) keys += row.streams[r].r2 / 3;
  EXPECT_NEAR(keys, row.headline[0].interval.value, 1e-12);
  EXPECT_LT(report.data.test_documents, report.data.test_sequences);
  EXPECT_EQ(report.data.test_tokens, report.data.test_sequences * 8);
  for (const WorstToken& token : row.worst_tokens) EXPECT_GE(token.token, 4);
}

TEST_F(EvaluateTest, TaskOnlyWhereThereAreLabels) {
  generate(flat_options());
  options_.baselines = {"mean"};
  const Report report = evaluate(recipe_, options_);
  ASSERT_TRUE(report.task.has_value());
  EXPECT_EQ(report.task->num_classes, 2);
  // One cache for all sequences: one answer for all.
  const TaskFigures& task = report.rows[0].task.value();
  EXPECT_NEAR(task.accuracy_difference.value,
              task.scores.accuracy.value - report.task->true_cache.accuracy.value, 1e-12);
  // Of two classes, it finds one.
  EXPECT_NEAR(task.scores.balanced_accuracy.value, 0.5, 1e-12);
  EXPECT_NEAR(report.task->majority_class.balanced_accuracy.value, 0.5, 1e-12);
  EXPECT_TRUE(report.task->gains.empty());

  GeneratorOptions unlabelled = flat_options();
  unlabelled.num_classes = 0;
  recipe_.dataset.folder = folder_.file("unlabelled");
  generate_paired_dataset(unlabelled, recipe_.dataset.folder);
  EXPECT_FALSE(evaluate(recipe_, options_).task.has_value());
}

// A head that says class 1 whatever it reads, beside the same projector without a head.
TEST_F(EvaluateTest, AHeadOfItsOwnIsARowBesideTheProjectorWithoutOne) {
  generate(flat_options());
  const std::string plain = save("plain", recipe_.split);
  Checkpoint headed = load_checkpoint(plain);
  headed.task_head = TaskHead{at::zeros({2, 10}), at::tensor({0.0F, 1.0F})};
  save_checkpoint(folder_.file("headed.safetensors"), headed);
  options_.baselines = {"mean"};
  options_.checkpoints = {"before=" + plain, "after=" + folder_.file("headed.safetensors")};
  const Report report = evaluate(recipe_, options_);
  EXPECT_FALSE(report.rows[0].task->own_head.has_value());
  ASSERT_TRUE(report.rows[1].task->own_head.has_value());

  const auto dataset = PairedDataset::open(recipe_.dataset.folder);
  const Split split = split_by_sequence(*dataset, recipe_.split);
  double ones = 0;
  for (const int64_t sequence : split.test) ones += dataset->label(sequence).value() == 1;
  const double accuracy = ones / static_cast<double>(split.test.size());
  const OwnHeadFigures& own = *report.rows[1].task->own_head;
  for (const ClassificationIntervals& scores : {own.projected, own.true_cache}) {
    EXPECT_NEAR(scores.accuracy.value, accuracy, 1e-12);
    EXPECT_NEAR(scores.balanced_accuracy.value, 0.5, 1e-12);
    EXPECT_NEAR(scores.macro_f1.value, accuracy / (1 + accuracy), 1e-12);
  }
  ASSERT_EQ(report.task->gains.size(), 2u);  // over the checkpoint before, and over itself
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(report.task->gains[i].row, "after");
    EXPECT_EQ(report.task->gains[i].against, report.rows[i].row);
    EXPECT_NEAR(report.task->gains[i].gain.accuracy.value,
                accuracy - report.rows[i].task->scores.accuracy.value, 1e-12);
  }
}

TEST_F(EvaluateTest, OneLabelForAllIsNoTask) {
  GeneratorOptions options = flat_options();
  options.num_classes = 1;
  generate(options);
  const Report report = evaluate(recipe_, options_);
  EXPECT_FALSE(report.task.has_value());
  EXPECT_THAT(report.warnings, ::testing::ElementsAre(
                                   ::testing::HasSubstr("All training sequences have one label")));
}

TEST_F(EvaluateTest, SameOptionsSameReport) {
  generate(flat_options());
  const auto report = [&] { return to_json(evaluate(recipe_, options_))["reconstruction"]; };
  EXPECT_EQ(report(), report());
}

TEST_F(EvaluateTest, ProgressEndsWithTheLastBatch) {
  generate(flat_options());
  int64_t done = 0, all = 0;
  evaluate(recipe_, options_, [&](const std::string& what, int64_t batches_done, int64_t batches) {
    done = batches_done;
    all = batches;
  });
  EXPECT_GT(all, 1);
  EXPECT_EQ(done, all);
}

TEST_F(EvaluateTest, TrainingIsReadOnceFromBesideTheCheckpoints) {
  generate(flat_options());
  options_.checkpoints = {"a=" + save("a", recipe_.split), "b=" + save("b", recipe_.split)};
  EXPECT_TRUE(evaluate(recipe_, options_).training.empty());
  std::ofstream(folder_.file("metrics.jsonl")) << "{\"event\":\"closed_form\"}\n";
  EXPECT_TRUE(evaluate(recipe_, options_).training.empty());
  std::ofstream(folder_.file("metrics.jsonl"))
      << "{\"event\":\"train_step\",\"step\":10,\"loss\":0.5}\n";
  const Report report = evaluate(recipe_, options_);
  ASSERT_EQ(report.training.size(), 1);
  EXPECT_EQ(report.training[0].row, "a");
  EXPECT_EQ(report.training[0].points.at(0).loss, 0.5);
  std::ofstream(folder_.file("metrics.jsonl")) << "[]\n";
  EXPECT_THROWS_WITH(evaluate(recipe_, options_), "metrics.jsonl, line 1: expected a JSON object");
}

TEST_F(EvaluateTest, WarnsOfOtherSinks) {
  generate(flat_options());
  options_.checkpoints = {"v1=" + save("a", recipe_.split, 3)};
  const Report report = evaluate(recipe_, options_);
  ASSERT_EQ(report.warnings.size(), 1);
  EXPECT_EQ(report.warnings[0],
            "v1 was trained without the first 3 tokens of each sequence, and is evaluated without "
            "the first 0.");
}

TEST_F(EvaluateTest, RefusesOtherSplitsAndData) {
  generate(flat_options());
  SplitOptions other = recipe_.split;
  other.seed = 2;
  options_.checkpoints = {save("a", other)};
  EXPECT_THROWS_WITH(evaluate(recipe_, options_),
                     "a.safetensors was trained on another split (SHA-256 ");
  EXPECT_THROWS_WITH(evaluate(recipe_, options_), "may have been seen in training");

  options_.checkpoints = {save("a", recipe_.split)};
  GeneratorOptions reseeded = flat_options();
  reseeded.seed = 2;
  recipe_.dataset.folder = folder_.file("other");
  generate_paired_dataset(reseeded, recipe_.dataset.folder);
  EXPECT_THROWS_WITH(evaluate(recipe_, options_), "was trained on another dataset (SHA-256 ");
}

TEST_F(EvaluateTest, RefusesOtherGeometries) {
  generate(flat_options());
  options_.checkpoints = {save("a", recipe_.split)};
  GeneratorOptions wider = flat_options();
  wider.receiver.head_dim = 12;
  recipe_.dataset.folder = folder_.file("wider");
  generate_paired_dataset(wider, recipe_.dataset.folder);
  EXPECT_THROWS_WITH(evaluate(recipe_, options_), "projects with receiver ");
  EXPECT_THROWS_WITH(evaluate(recipe_, options_), "head dim 12");
}

TEST_F(EvaluateTest, RefusesWhatItCannotEvaluate) {
  generate(flat_options());
  const std::string path = save("a", recipe_.split);
  options_.checkpoints = {"a=" + path, "a=" + path};
  EXPECT_THROWS_WITH(evaluate(recipe_, options_), "got \"a\" again for ");
  options_.checkpoints = {"mean=" + path};
  EXPECT_THROWS_WITH(evaluate(recipe_, options_), "got \"mean\" again for ");
  options_.checkpoints.clear();
  options_.baselines = {"truncate"};
  EXPECT_THROWS_WITH(evaluate(recipe_, options_), "there is nothing to evaluate");
  options_.baselines = {"mode"};
  EXPECT_THROWS_WITH(evaluate(recipe_, options_), "baselines");
  options_.baselines = {"mean"};
  recipe_.split.test = 0;
  EXPECT_THROWS_WITH(evaluate(recipe_, options_), "the test split holds no sequence");
}

TEST_F(EvaluateTest, WritesThreeFiles) {
  generate(flat_options());
  const Report report = evaluate(recipe_, options_);
  write_report(report, folder_.file("a/b"));
  EXPECT_EQ(nlohmann::json::parse(read_file(folder_.file("a/b/report.json"))), to_json(report));
  EXPECT_EQ(read_file(folder_.file("a/b/report.md")), to_markdown(report));
  EXPECT_EQ(read_file(folder_.file("a/b/report.html")), to_html(to_json(report)));
  std::ofstream(folder_.file("file")) << "in the way";
  EXPECT_THROWS_WITH(write_report(report, folder_.file("file/b")), "cannot make the folder");
}

}  // namespace
}  // namespace kvalign
