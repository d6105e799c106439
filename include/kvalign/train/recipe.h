// Everything that `kvalign distill-train` can be told: one struct, one YAML file a run. Evaluation
// reads the same recipe for its data and split. The sections are described where they are used.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kvalign/core/options.h"
#include "kvalign/dataset/loader.h"
#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/dataset/split.h"
#include "kvalign/format/export.h"
#include "kvalign/loss/multi_task_loss.h"
#include "kvalign/projector/projector.h"
#include "kvalign/train/fit_options.h"
#include "kvalign/train/round_trip_loss.h"
#include "kvalign/train/train_options.h"

namespace kvalign {

struct KVALIGN_API DatasetOptions {
  std::string folder;              ///< of a paired dataset
  int64_t skip_first_tokens = -1;  ///< of every sequence; -1: the dataset's attention sinks
  std::string alignment = "last";  ///< last or mean: AlignmentReading, where the tokenisers differ

  void describe(OptionVisitor& visitor);
};

struct KVALIGN_API Recipe {
  std::string run_folder;       ///< where results go; made when missing
  std::string device = "auto";  ///< auto, cpu, cuda or cuda:N
  int64_t threads = 0;  ///< of the CPU; 0: LibTorch's choice. Set by the tool, not the library
  int64_t seed = 1;     ///< of the order of training batches
  DatasetOptions dataset;
  SplitOptions split;
  LoaderOptions loader;
  ProjectorOptions projector;
  FitOptions fit;
  LossOptions loss;
  RoundTripOptions round_trip;
  TrainOptions train;

  void describe(OptionVisitor& visitor);
};

/// What other recipes share with this one.
KVALIGN_API void describe_run(OptionVisitor& visitor, Recipe& recipe);
KVALIGN_API void describe_device(OptionVisitor& visitor, Recipe& recipe);
KVALIGN_API void describe_dataset(OptionVisitor& visitor, DatasetOptions& dataset);
KVALIGN_API void describe_split(OptionVisitor& visitor, SplitOptions& split);
KVALIGN_API void describe_loader(OptionVisitor& visitor, LoaderOptions& loader);
KVALIGN_API void describe_train(OptionVisitor& visitor, TrainOptions& train);

/// PairedDataset::open of the folder, read as `alignment` says.
KVALIGN_API std::shared_ptr<const PairedDataset> open_dataset(const DatasetOptions& options);

/// Tokens to leave out at the start of each sequence: what `options` says, or the dataset's
/// num_sinks.
KVALIGN_API int64_t num_skipped_tokens(const DatasetOptions& options, const PairedDataset& dataset);

}  // namespace kvalign
