// A fresh report follows results/report.schema.json, by Python's jsonschema.
#include <gtest/gtest.h>

#include <fstream>

#include "kvalign/dataset/generator.h"
#include "kvalign/evaluate/evaluate.h"
#include "kvalign/train/checkpoint.h"
#include "tests/support/python.h"
#include "tiny_ladder.h"

namespace kvalign::testing {
namespace {

// Exits with 0 where the file follows the schema.
constexpr const char* kValidate = R"(
import json, sys, jsonschema
schema, report = (json.load(open(path)) for path in sys.argv[1:])
jsonschema.Draft202012Validator.check_schema(schema)
errors = list(jsonschema.Draft202012Validator(schema).iter_errors(report))
for error in errors: print(error.json_path, error.message)
sys.exit(len(errors) > 0)
)";

TEST(ReportSchema, AFreshReportFollowsIt) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  TinyLadder tiny("llama", "qwen3");
  tiny.save_checkpoint_of(/*identity=*/false);
  std::ofstream(tiny.folder.file("metrics.jsonl"))
      << R"({"event":"train_step","step":10,"loss":0.5})"
      << "\n";
  tiny.evaluate.certify = {.sequences = 1, .tokens = 2, .receiver = tiny.options.receiver};
  Report report = evaluate(tiny.recipe, tiny.evaluate);
  const Ladder ladder = tiny.open();
  report.ladder = ladder.climb();
  report.ladder->gates = ladder.check_identity();
  const std::string path = tiny.folder.file("report.json");
  const std::string arguments = KVALIGN_SOURCE_DIR "/results/report.schema.json " + path;
  nlohmann::json json = to_json(report);
  EXPECT_EQ(json["ladder"][0]["nll_by_position"].size(), tiny.options.continuation_tokens);
  std::ofstream(path) << json;
  EXPECT_EQ(run_python(kValidate, arguments), 0);
  json["ladder"][0].erase("wire");
  std::ofstream(path) << json;
  EXPECT_NE(run_python(kValidate, arguments), 0);
}

TEST(ReportSchema, AReportOfATaskFollowsIt) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const TemporaryFolder folder;
  Recipe recipe;
  recipe.device = "cpu";
  recipe.split = {.validation = 0.2, .test = 0.3};
  recipe.dataset.folder = folder.file("data");
  generate_paired_dataset({.sender = {.head_dim = 6},
                           .receiver = {.head_dim = 10},
                           .num_sequences = 30,
                           .tokens_per_sequence = 7},
                          recipe.dataset.folder);
  const auto dataset = open_dataset(recipe.dataset);
  const DatasetIndex& index = dataset->index();
  EvaluateOptions options{.checkpoints = {folder.file("tuned.safetensors")}, .baselines = {"mean"}};
  save_checkpoint(
      options.checkpoints[0],
      {.projector = std::make_shared<KvProjector>(
           ProjectorOptions{.standardise_features = false, .standardise_targets = false},
           index.sender.geometry, index.receiver.geometry),
       .dataset_sha256 = dataset->sha256(),
       .split_sha256 = split_by_sequence(*dataset, recipe.split).sha256,
       .task_head = TaskHead{at::zeros({2, 10}), at::zeros({2})}});
  const nlohmann::json json = to_json(evaluate(recipe, options));
  EXPECT_TRUE(json["task"].contains("gains"));
  const std::string path = folder.file("report.json");
  std::ofstream(path) << json;
  EXPECT_EQ(run_python(kValidate, KVALIGN_SOURCE_DIR "/results/report.schema.json " + path), 0);
}

}  // namespace
}  // namespace kvalign::testing
