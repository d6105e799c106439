// A dataset and a recipe that train in a fraction of a second, for the tests of runs.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvalign/dataset/generator.h"
#include "kvalign/train/recipe.h"

namespace kvalign::testing {

/// 30 sequences of 12 tokens, 16 -> 24, with two classes.
inline void make_tiny_dataset(const std::string& folder, int64_t num_classes = 2) {
  GeneratorOptions options;
  options.sender.head_dim = 16;
  options.receiver.head_dim = 24;
  options.num_sequences = 30;
  options.tokens_per_sequence = 12;
  options.sequences_per_shard = 10;
  options.num_classes = num_classes;
  options.shared_factors = 8;
  options.private_factors = 4;
  options.dtype = "float32";
  generate_paired_dataset(options, folder);
}

/// 24 sequences to train on, 4 a batch: 6 steps an epoch.
inline Recipe tiny_recipe(const std::string& dataset, const std::string& run_folder) {
  Recipe recipe;
  recipe.run_folder = run_folder;
  recipe.device = "cpu";
  recipe.dataset.folder = dataset;
  recipe.loader.batch_tokens = 48;
  recipe.train.epochs = 5;
  recipe.train.learning_rate = 1e-2;
  recipe.train.log_every_steps = 1;
  recipe.train.checkpoint_every_steps = 4;
  return recipe;
}

/// The events of metrics.jsonl with what the wall clock decides taken out.
inline std::vector<nlohmann::json> read_metrics(const std::string& run_folder) {
  std::ifstream file(std::filesystem::path(run_folder) / "metrics.jsonl");
  std::vector<nlohmann::json> events;
  for (std::string line; std::getline(file, line);) {
    nlohmann::json event = nlohmann::json::parse(line);
    event.erase("time");
    event.erase("tokens_per_s");
    events.push_back(std::move(event));
  }
  return events;
}

/// The losses of the training steps, in order.
inline std::vector<double> read_losses(const std::string& run_folder) {
  std::vector<double> losses;
  for (const nlohmann::json& event : read_metrics(run_folder)) {
    if (event["event"] == "train_step") losses.push_back(event["loss"]);
  }
  return losses;
}

}  // namespace kvalign::testing
