// What a recipe may say about fine-tuning.
#include "kvalign/train/fine_tuner.h"

namespace kvalign {

namespace {

// The part of a recipe's `loss` that fine-tuning reads.
struct HeadFitOptions {
  TaskHeadOptions& task_head;

  void describe(OptionVisitor& visitor) {
    visitor.section("task_head", "fit to true receiver caches, where the checkpoint has no head",
                    task_head);
  }
};

}  // namespace

void FineTuneOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "checkpoint", .help = "that training starts from", .required = true},
                checkpoint);
  visitor.field({.name = "train",
                 .help = "what learns: the task head, the projector under it, or both",
                 .one_of = {"head", "projector", "both"}},
                train);
}

void describe_fine_tune(OptionVisitor& visitor, FineTuneOptions& fine_tune) {
  visitor.section("fine_tune", "what is fine-tuned", fine_tune);
}

void FineTuneRecipe::describe(OptionVisitor& visitor) {
  describe_run(visitor, recipe);
  describe_dataset(visitor, recipe.dataset);
  describe_split(visitor, recipe.split);
  describe_loader(visitor, recipe.loader);
  HeadFitOptions head_fit{recipe.loss.task_head};
  visitor.section("loss", "of which only the task head's fit is read", head_fit);
  describe_train(visitor, recipe.train);
  describe_fine_tune(visitor, fine_tune);
}

}  // namespace kvalign
