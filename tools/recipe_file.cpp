// Names the sections of a recipe file. What is in them is described where it is used.
#include "recipe_file.h"

namespace kvalign::tools {
namespace {

void describe_capture(OptionVisitor& visitor, CaptureOptions& capture) {
  visitor.section("capture", "which models read what", capture);
}

void describe_evaluate(OptionVisitor& visitor, EvaluateOptions& evaluate) {
  visitor.section("evaluate", "what is measured on the held-out sequences", evaluate);
}

void describe_ladder(OptionVisitor& visitor, LadderOptions& ladder) {
  visitor.section("ladder", "what the receiver can do with the caches", ladder);
}

void describe_task(OptionVisitor& visitor, TaskSuccessOptions& task) {
  visitor.section("task", "which questions the receiver answers from the caches", task);
}

void describe_cost(OptionVisitor& visitor, CostOptions& cost) {
  visitor.section("cost", "on which devices and over which network costs are estimated", cost);
}

void describe_plan(OptionVisitor& visitor, PlanOptions& plan) {
  visitor.section("plan", "which ways of sending a prompt are compared", plan);
}

void describe_generate(OptionVisitor& visitor, GeneratorOptions& generate) {
  visitor.section("generate", "caches made up with known structure", generate);
}

void describe_serving(OptionVisitor& visitor, ServeOptions& serve, ModelServiceOptions& service,
                      DriftWatchOptions& drift) {
  visitor.section("serve", "where a server listens, and its limits", serve);
  visitor.section("service", "which models it has, and how requests are answered", service);
  visitor.section("drift", "how its requests are compared with held-out data", drift);
}

void describe_load(OptionVisitor& visitor, LoadOptions& load) {
  visitor.section("load", "what a load generator sends to a server", load);
}

void describe_benchmark(OptionVisitor& visitor, benchmark::BenchmarkOptions& benchmark) {
  visitor.section("benchmark", "what is timed", benchmark);
}

}  // namespace

void DriftWatchOptions::describe(OptionVisitor& visitor) {
  DriftOptions::describe(visitor);
  visitor.field(
      {"references",
       "name=drift.json of `kvalign reference`, of each model whose requests are compared"},
      references);
}

void RecipeFile::describe(OptionVisitor& visitor) {
  recipe.describe(visitor);
  describe_fine_tune(visitor, fine_tune);
  describe_capture(visitor, capture);
  describe_evaluate(visitor, evaluate);
  describe_ladder(visitor, ladder);
  describe_task(visitor, task);
  describe_cost(visitor, cost);
  describe_plan(visitor, plan);
  describe_generate(visitor, generate);
  describe_serving(visitor, serve, service, drift);
  describe_load(visitor, load);
  describe_benchmark(visitor, benchmark);
}

void CaptureRecipe::describe(OptionVisitor& visitor) {
  describe_device(visitor, recipe);
  describe_dataset(visitor, recipe.dataset);
  describe_capture(visitor, capture);
}

void LadderRecipe::describe(OptionVisitor& visitor) {
  recipe.describe(visitor);
  describe_evaluate(visitor, evaluate);
  describe_ladder(visitor, ladder);
}

void EvalRecipe::describe(OptionVisitor& visitor) {
  LadderRecipe::describe(visitor);
  describe_task(visitor, task);
  describe_cost(visitor, cost);
}

void PlanRecipe::describe(OptionVisitor& visitor) {
  describe_cost(visitor, cost);
  describe_plan(visitor, plan);
}

void ServeRecipe::describe(OptionVisitor& visitor) {
  describe_serving(visitor, serve, service, drift);
}

void LoadRecipe::describe(OptionVisitor& visitor) {
  describe_load(visitor, load);
}

void BenchRecipe::describe(OptionVisitor& visitor) {
  describe_device(visitor, recipe);
  describe_benchmark(visitor, benchmark);
}

void DatasetRecipe::describe(OptionVisitor& visitor) {
  describe_dataset(visitor, dataset);
  describe_split(visitor, split);
}

void GenerateRecipe::describe(OptionVisitor& visitor) {
  describe_dataset(visitor, dataset);
  describe_generate(visitor, generate);
}

}  // namespace kvalign::tools
