// Times the service's infer beside the library's own projection of the same rows, 512 to 4096 with
// LayerNorm, in one process, every round in turn: one request of 1 and of 256 tokens, and 8 clients
// of 32 tokens at once against one projection of all 256. Prints milliseconds, median [least,
// most], and the ratio to the library: of time, and of the processor time of the whole process,
// which others on the machine disturb less. Usage: serving [threads] [rounds]
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "kvalign/core/random.h"
#include "kvalign/core/sha256.h"
#include "kvalign/deploy/model_service.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/support/flat_geometry.h"
#include "tests/support/temporary_folder.h"

namespace {

using namespace kvalign;

constexpr int64_t kSenderWidth = 512, kReceiverWidth = 4096;

double median(std::vector<double> numbers) {
  std::nth_element(numbers.begin(), numbers.begin() + numbers.size() / 2, numbers.end());
  return numbers[numbers.size() / 2];
}

struct Cost {
  double seconds, processor_seconds;
};

double processor_seconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

Cost cost_of(const std::function<void()>& run) {
  const double processor = processor_seconds();
  const auto start = std::chrono::steady_clock::now();
  run();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
          processor_seconds() - processor};
}

nlohmann::json summary_of(const std::vector<double>& numbers) {
  const auto [least, most] = std::minmax_element(numbers.begin(), numbers.end());
  return {{"median", median(numbers)}, {"least", *least}, {"most", *most}};
}

ServeRequest request_of(const at::Tensor& rows_TF) {
  return {.model = "flat",
          .inputs = {{.name = "features",
                      .datatype = "FP32",
                      .shape = rows_TF.sizes().vec(),
                      .data = std::string(static_cast<const char*>(rows_TF.const_data_ptr()),
                                          rows_TF.nbytes())}}};
}

// Clients that send their requests at the same moment, again and again.
class Clients {
 public:
  Clients(ModelService& service, const at::Tensor& rows_TF, int64_t count)
      : begin_(count + 1), end_(count + 1) {
    for (const at::Tensor& rows : rows_TF.chunk(count)) {
      threads_.emplace_back([this, &service, request = request_of(rows.contiguous())] {
        while (true) {
          begin_.arrive_and_wait();
          if (stopped_) return;
          service.infer(request);
          end_.arrive_and_wait();
        }
      });
    }
  }
  ~Clients() {
    stopped_ = true;
    begin_.arrive_and_wait();
    for (std::thread& thread : threads_) thread.join();
  }
  void once() {
    begin_.arrive_and_wait();
    end_.arrive_and_wait();
  }

 private:
  std::barrier<> begin_, end_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

nlohmann::json measure(ModelService& service, const KvProjector& projector, int64_t clients,
                       int64_t tokens, int rounds) {
  const at::Tensor rows_TF = at::randn({tokens, kSenderWidth}, make_generator(1));
  Clients all(service, rows_TF, clients);
  const auto library = [&] { projector.project(rows_TF.unsqueeze(0)); };
  const ServeRequest request = request_of(rows_TF);
  const auto served = [&] { clients == 1 ? void(service.infer(request)) : all.once(); };
  for (int warm_up = 0; warm_up < 3; ++warm_up) {
    library();
    served();
  }
  std::vector<double> milliseconds, ratios, processor_ratios, noise;
  for (int round = 0; round < rounds; ++round) {
    const Cost first = cost_of(library), ours = cost_of(served);
    milliseconds.push_back(1e3 * ours.seconds);
    ratios.push_back(ours.seconds / first.seconds);
    processor_ratios.push_back(ours.processor_seconds / first.processor_seconds);
    noise.push_back(cost_of(library).processor_seconds / first.processor_seconds);
  }
  return {{"milliseconds", summary_of(milliseconds)},
          {"ratio_to_library", summary_of(ratios)},
          {"processor_ratio_to_library", summary_of(processor_ratios)},
          {"processor_library_to_library", summary_of(noise)}};
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 1);
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 101;
  const at::NoGradGuard no_gradients;
  const TemporaryFolder folder;
  const auto projector = std::make_shared<KvProjector>(
      ProjectorOptions{}, testing::flat(kSenderWidth), testing::flat(kReceiverWidth));
  const std::string path = folder.file("flat.safetensors");
  save_checkpoint(path, {.projector = projector,
                         .recipe = "{}",
                         .dataset_sha256 = sha256_hex("data"),
                         .split_sha256 = sha256_hex("split")});
  const auto service = make_model_service({.models = {"flat=" + path}});
  const KvProjector loaded = *load_checkpoint(path).projector;
  nlohmann::json shapes;
  for (const auto& [clients, tokens] : {std::pair{1, 1}, {1, 256}, {8, 256}}) {
    shapes[std::to_string(clients) + " x " + std::to_string(tokens / clients) + " tokens"] =
        measure(*service, loaded, clients, tokens, rounds);
  }
  const nlohmann::json result = {
      {"threads", at::get_num_threads()},
      {"rounds", rounds},
      {"identical_from_tokens",
       service->model_metadata("flat", "")["parameters"]["identical_from_tokens"]},
      {"shapes", shapes}};
  std::cout << result.dump(2) << "\n";
}
