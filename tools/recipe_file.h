// One recipe file serves every subcommand: capture, training, evaluation, benchmark, plan, serving,
// load and, for generated data, the generator. A file may hold sections that a subcommand does not
// use; each shows, in --help and --print-config, only those that it does.
#pragma once

#include "kvalign/benchmark/benchmark.h"
#include "kvalign/core/options.h"
#include "kvalign/dataset/generator.h"
#include "kvalign/deploy/model_service_options.h"
#include "kvalign/evaluate/evaluate_options.h"
#include "kvalign/evaluate/ladder_options.h"
#include "kvalign/evaluate/plan.h"
#include "kvalign/evaluate/task_success_options.h"
#include "kvalign/model/capture.h"
#include "kvalign/monitor/drift_options.h"
#include "kvalign/serve/load_options.h"
#include "kvalign/serve/serve_options.h"
#include "kvalign/train/fine_tuner.h"
#include "kvalign/train/recipe.h"

namespace kvalign::tools {

/// Which models' requests are compared with held-out data, and how.
struct DriftWatchOptions : DriftOptions {
  std::vector<std::string> references;  ///< name=file of `kvalign reference`
  void describe(OptionVisitor& visitor);
};

/// All that a file may hold.
struct RecipeFile {
  Recipe recipe;
  FineTuneOptions fine_tune;
  CaptureOptions capture;
  EvaluateOptions evaluate;
  LadderOptions ladder;
  TaskSuccessOptions task;
  CostOptions cost;
  PlanOptions plan;
  GeneratorOptions generate;
  ServeOptions serve;
  ModelServiceOptions service;
  DriftWatchOptions drift;
  LoadOptions load;
  benchmark::BenchmarkOptions benchmark;
  void describe(OptionVisitor& visitor);
};

// What a subcommand uses of the file, made from it.

/// Of the recipe's own fields only the device and the dataset, which it writes.
struct CaptureRecipe {
  Recipe recipe;
  CaptureOptions capture;
  explicit CaptureRecipe(const RecipeFile& file = {})
      : recipe(file.recipe), capture(file.capture) {}
  void describe(OptionVisitor& visitor);
};

struct TrainRecipe {
  Recipe recipe;
  explicit TrainRecipe(const RecipeFile& file = {}) : recipe(file.recipe) {}
  void describe(OptionVisitor& visitor) { recipe.describe(visitor); }
};

struct TuneRecipe : FineTuneRecipe {
  explicit TuneRecipe(const RecipeFile& file = {}) : FineTuneRecipe{file.recipe, file.fine_tune} {}
};

struct LadderRecipe {
  Recipe recipe;
  EvaluateOptions evaluate;
  LadderOptions ladder;
  explicit LadderRecipe(const RecipeFile& file = {})
      : recipe(file.recipe), evaluate(file.evaluate), ladder(file.ladder) {}
  void describe(OptionVisitor& visitor);
};

struct EvalRecipe : LadderRecipe {
  TaskSuccessOptions task;
  CostOptions cost;
  explicit EvalRecipe(const RecipeFile& file = {})
      : LadderRecipe(file), task(file.task), cost(file.cost) {}
  void describe(OptionVisitor& visitor);
};

struct PlanRecipe {
  CostOptions cost;
  PlanOptions plan;
  explicit PlanRecipe(const RecipeFile& file = {}) : cost(file.cost), plan(file.plan) {}
  void describe(OptionVisitor& visitor);
};

struct ServeRecipe {
  ServeOptions serve;
  ModelServiceOptions service;
  DriftWatchOptions drift;
  explicit ServeRecipe(const RecipeFile& file = {})
      : serve(file.serve), service(file.service), drift(file.drift) {}
  void describe(OptionVisitor& visitor);
};

struct LoadRecipe {
  LoadOptions load;
  explicit LoadRecipe(const RecipeFile& file = {}) : load(file.load) {}
  void describe(OptionVisitor& visitor);
};

/// Of the recipe's own fields only the device.
struct BenchRecipe {
  Recipe recipe;
  benchmark::BenchmarkOptions benchmark;
  explicit BenchRecipe(const RecipeFile& file = {})
      : recipe(file.recipe), benchmark(file.benchmark) {}
  void describe(OptionVisitor& visitor);
};

struct DatasetRecipe {
  DatasetOptions dataset;
  SplitOptions split;
  explicit DatasetRecipe(const RecipeFile& file = {})
      : dataset(file.recipe.dataset), split(file.recipe.split) {}
  void describe(OptionVisitor& visitor);
};

struct GenerateRecipe {
  DatasetOptions dataset;
  GeneratorOptions generate;
  explicit GenerateRecipe(const RecipeFile& file = {})
      : dataset(file.recipe.dataset), generate(file.generate) {}
  void describe(OptionVisitor& visitor);
};

}  // namespace kvalign::tools
