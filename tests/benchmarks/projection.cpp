// Times V1 and V2 of 512 to 4096 with LayerNorm beside their matrix products alone (at::linear with
// the same weights and bias), in one process, every round in turn, on random caches; both are
// compared with float64 first. Prints milliseconds, median [least, most], and the ratio to the
// products. Usage: projection [threads] [rounds]
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "kvalign/core/random.h"
#include "kvalign/projector/kv_projector.h"
#include "tests/benchmarks/subjects.h"
#include "tests/support/flat_geometry.h"

namespace {

using namespace kvalign;

constexpr int64_t kSenderWidth = 512, kReceiverWidth = 4096, kHidden = 1024;

double seconds_of(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The matrix products of a kind, with weights of its shapes.
std::function<at::Tensor(const at::Tensor&)> products_of(const std::string& kind,
                                                         at::Generator generator) {
  const auto weight = [&](int64_t rows, int64_t columns) {
    return at::randn({rows, columns}, generator) / 16;
  };
  if (kind == "linear_residual") {
    return [w = weight(kReceiverWidth, kSenderWidth),
            b = at::zeros({kReceiverWidth})](const at::Tensor& x) { return at::linear(x, w, b); };
  }
  return [w1 = weight(kHidden, kSenderWidth), b1 = at::zeros({kHidden}),
          w2 = weight(kReceiverWidth, kHidden), b2 = at::zeros({kReceiverWidth})](
             const at::Tensor& x) { return at::linear(at::linear(x, w1, b1), w2, b2); };
}

void check_accuracy(const KvProjector& projector, const at::Tensor& sender_STd) {
  const at::Tensor got = projector.project(sender_STd);
  projector.projector().to(at::kDouble);
  const at::Tensor expected = projector.project(sender_STd.to(at::kDouble));
  projector.projector().to(at::kFloat);
  const double error = ((got.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
  TORCH_CHECK(error < 1e-5, "projection: relative error ", error, " against float64");
}

nlohmann::json summary_of(const std::vector<double>& numbers) {
  const auto [least, most] = std::minmax_element(numbers.begin(), numbers.end());
  return {{"median", median(numbers)}, {"least", *least}, {"most", *most}};
}

// Milliseconds and ratios of one kind and shape.
nlohmann::json measure(const std::string& kind, int64_t sequences, int64_t tokens, int rounds) {
  const at::Generator generator = make_generator(1);
  ProjectorOptions options;
  options.kind = kind;
  options.norm = "layer";
  options.hidden_size = kHidden;
  options.standardise_features = options.standardise_targets = false;
  const KvProjector projector(options, testing::flat(kSenderWidth), testing::flat(kReceiverWidth));
  const at::Tensor sender_STd = at::randn({1, sequences * tokens, kSenderWidth}, generator);
  check_accuracy(projector, sender_STd);
  const auto products = products_of(kind, generator);
  const std::function<void()> variants[] = {[&] { products(sender_STd[0]); },
                                            [&] { projector.project(sender_STd); },
                                            [&] { products(sender_STd[0]); }};
  for (const auto& variant : variants) variant();
  std::vector<double> milliseconds, ratios, noise;
  for (int round = 0; round < rounds; ++round) {
    const double first = seconds_of(variants[0]), ours = seconds_of(variants[1]);
    milliseconds.push_back(1e3 * ours);
    ratios.push_back(ours / first);
    noise.push_back(seconds_of(variants[2]) / first);
  }
  return {{"milliseconds", summary_of(milliseconds)},
          {"ratio_to_products", summary_of(ratios)},
          {"products_to_products", summary_of(noise)}};
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 1);
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 101;
  const at::NoGradGuard no_gradients;
  nlohmann::json shapes;
  for (const auto& [sequences, tokens] : {std::pair{1, 1}, {1, 100}, {8, 100}}) {
    const std::string shape =
        ", " + std::to_string(sequences) + " x " + std::to_string(tokens) + " tokens";
    shapes["V1" + shape] = measure("linear_residual", sequences, tokens, rounds);
    shapes["V2" + shape] = measure("mlp", sequences, tokens, rounds);
  }
  const nlohmann::json result = {
      {"threads", at::get_num_threads()}, {"rounds", rounds}, {"shapes", shapes}};
  std::cout << result.dump(2) << "\n";
}
