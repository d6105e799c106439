// Our side of a projection among peers: a worker for compare_peers.py. Makes a projector with
// random weights, writes it to FOLDER as checkpoint.safetensors and model.onnx, then reads lines
// and answers each with JSON:
//   time TOKENS CALLS  milliseconds of each call
//   output             projects FOLDER/features.safetensors into FOLDER/kvalign.safetensors
//   machine            what it runs on
// Usage: projection FOLDER THREADS KIND SENDER_WIDTH RECEIVER_WIDTH
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "kvalign/core/random.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/deploy/onnx_export.h"
#include "kvalign/evaluate/machine.h"
#include "kvalign/projector/frozen_projector.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/support/flat_geometry.h"

namespace {

using namespace kvalign;

// Biases and norms that start at 0 and 1 are moved away from there.
std::shared_ptr<KvProjector> random_projector(const std::string& kind, int64_t sender_width,
                                              int64_t receiver_width) {
  ProjectorOptions options;
  options.kind = kind;
  options.norm = "layer";
  options.standardise_features = options.standardise_targets = false;
  auto projector = std::make_shared<KvProjector>(options, testing::flat(sender_width),
                                                 testing::flat(receiver_width));
  at::Generator generator = make_generator(1);
  for (at::Tensor& parameter : projector->projector().parameters()) {
    parameter.add_(at::randn(parameter.sizes(), generator), 0.02);
  }
  return projector;
}

void write_files(const std::shared_ptr<KvProjector>& projector, const std::string& folder) {
  const std::string checkpoint = folder + "/checkpoint.safetensors";
  save_checkpoint(checkpoint, {.projector = projector,
                               .recipe = "projector: {}\n",
                               .dataset_sha256 = sha256_hex("random"),
                               .split_sha256 = sha256_hex("none")});
  export_onnx(checkpoint, folder + "/model.onnx", {});
}

nlohmann::json time_calls(const FrozenProjector& projector, int64_t tokens, int64_t calls) {
  const at::Tensor features_1Tf =
      at::randn({1, tokens, projector.sender().width()}, make_generator(2));
  nlohmann::json milliseconds = nlohmann::json::array();
  for (int64_t call = 0; call < calls; ++call) {
    const auto start = std::chrono::steady_clock::now();
    projector.project(features_1Tf);
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    milliseconds.push_back(time.count());
  }
  return milliseconds;
}

nlohmann::json write_output(const FrozenProjector& projector, const std::string& folder) {
  const auto file = SafetensorsFile::open(folder + "/features.safetensors");
  const at::Tensor features_Tf = file.tensor("features");
  const at::Tensor output_TD = projector.project(features_Tf.unsqueeze(0))[0];
  write_safetensors(folder + "/kvalign.safetensors", {{"output", output_TD.contiguous()}}, {});
  return nlohmann::json::array();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::cerr << "usage: projection FOLDER THREADS KIND SENDER_WIDTH RECEIVER_WIDTH\n";
    return 2;
  }
  const std::string folder = argv[1];
  at::set_num_threads(std::atoi(argv[2]));
  const at::NoGradGuard no_gradients;
  const auto trained = random_projector(argv[3], std::atoll(argv[4]), std::atoll(argv[5]));
  write_files(trained, folder);
  const FrozenProjector projector(*trained);
  std::string command;
  while (std::cin >> command) {
    nlohmann::json answer;
    if (command == "time") {
      int64_t tokens = 0, calls = 0;
      std::cin >> tokens >> calls;
      answer = time_calls(projector, tokens, calls);
    } else {
      answer =
          command == "output" ? write_output(projector, folder) : to_json(describe_machine("cpu"));
    }
    std::cout << answer.dump() << std::endl;
  }
}
