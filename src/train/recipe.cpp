// The top of a recipe; every section describes itself.
#include "kvalign/train/recipe.h"

#include "kvalign/core/device.h"

namespace kvalign {

void DatasetOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "folder", .help = "of the paired dataset", .required = true}, folder);
  visitor.field(
      {"skip_first_tokens",
       "tokens left out at the start of each sequence; -1: the dataset's attention sinks", -1},
      skip_first_tokens);
  visitor.field(
      {.name = "alignment",
       .help = "where the tokenizers differ: a receiver token reads the last sender token "
               "that it is aligned with, or the mean of all since the token before",
       .one_of = {"last", "mean"}},
      alignment);
}

void describe_device(OptionVisitor& visitor, Recipe& recipe) {
  visitor.field({.name = "device", .help = "auto, cpu, cuda or cuda:N", .required = true},
                recipe.device);
  visitor.field({.name = "threads",
                 .help = "CPU threads; 0: one a core",
                 .minimum = 0,
                 .maximum = kMostThreads},
                recipe.threads);
}

void describe_dataset(OptionVisitor& visitor, DatasetOptions& dataset) {
  visitor.section("dataset", "the paired caches", dataset);
}

void describe_split(OptionVisitor& visitor, SplitOptions& split) {
  visitor.section("split", "which sequences are held out", split);
}

void describe_loader(OptionVisitor& visitor, LoaderOptions& loader) {
  visitor.section("loader", "how batches are made", loader);
}

void describe_train(OptionVisitor& visitor, TrainOptions& train) {
  visitor.section("train", "how it is trained", train);
}

void describe_run(OptionVisitor& visitor, Recipe& recipe) {
  visitor.field({.name = "run_folder", .help = "where the run's files go", .required = true},
                recipe.run_folder);
  describe_device(visitor, recipe);
  visitor.field({"seed", "of the order of training batches", 0}, recipe.seed);
}

void Recipe::describe(OptionVisitor& visitor) {
  describe_run(visitor, *this);
  describe_dataset(visitor, dataset);
  describe_split(visitor, split);
  describe_loader(visitor, loader);
  visitor.section("projector", "what is trained", projector);
  visitor.section("fit", "how it gets its weights", fit);
  visitor.section("loss", "what it is trained on", loss);
  visitor.section("round_trip", "what bidirectional and autoencoder are trained on besides",
                  round_trip);
  describe_train(visitor, train);
}

std::shared_ptr<const PairedDataset> open_dataset(const DatasetOptions& options) {
  return PairedDataset::open(options.folder, alignment_reading(options.alignment));
}

int64_t num_skipped_tokens(const DatasetOptions& options, const PairedDataset& dataset) {
  return options.skip_first_tokens >= 0 ? options.skip_first_tokens : dataset.index().num_sinks;
}

}  // namespace kvalign
