// Times the service's infer beside the library's own projection of the same rows, 512 to 4096 with
// LayerNorm, in one process, every round in turn: one request of 1 token, as numbers and as FP8
// codes that are certified, one of 256, and 8 clients of 32 tokens at once against one projection
// of all 256. Prints milliseconds, median [least, most], the ratio to the library: of time, and of
// the processor time of the whole process, which others on the machine disturb less; and the
// microseconds of each phase. Usage: serving [threads] [rounds]
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "kvalign/core/random.h"
#include "kvalign/core/sha256.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/deploy/model_service.h"
#include "kvalign/projector/frozen_projector.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/support/flat_geometry.h"

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

// Codes of all magnitudes but the largest, which would be saturated.
ServeRequest coded_request_of(int64_t tokens) {
  std::string codes(static_cast<size_t>(tokens * kSenderWidth), '\0');
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<char>(i * 37 % 0x7E);
  const std::vector<float> scales(static_cast<size_t>(tokens), 0.01F);
  return {
      .model = "flat",
      .inputs = {
          {.name = "codes", .datatype = "UINT8", .shape = {tokens, kSenderWidth}, .data = codes},
          {.name = "scales",
           .datatype = "FP32",
           .shape = {tokens, 1},
           .data = std::string(reinterpret_cast<const char*>(scales.data()), 4 * scales.size())}}};
}

using Phases = std::map<std::string, std::vector<double>>;

void add_phases(const ServeResponse& response, Phases& phases) {
  for (const auto& [phase, seconds] : response.record.phase_seconds) {
    phases[phase].push_back(1e6 * seconds);
  }
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

nlohmann::json measure(const std::function<void()>& library, const std::function<void()>& served,
                       int rounds) {
  for (int warm_up = 0; warm_up < 3; ++warm_up) {
    library();
    served();
  }
  std::vector<double> milliseconds, ratios, processor_ratios, noise;
  for (int round = 0; round < rounds; ++round) {
    // In turn: the weights of neither are in the processor's caches when it begins.
    const Cost first = cost_of(library), ours = cost_of(served), second = cost_of(library);
    served();
    milliseconds.push_back(1e3 * ours.seconds);
    ratios.push_back(ours.seconds / first.seconds);
    processor_ratios.push_back(ours.processor_seconds / first.processor_seconds);
    noise.push_back(second.processor_seconds / first.processor_seconds);
  }
  return {{"milliseconds", summary_of(milliseconds)},
          {"ratio_to_library", summary_of(ratios)},
          {"processor_ratio_to_library", summary_of(processor_ratios)},
          {"processor_library_to_library", summary_of(noise)}};
}

nlohmann::json measure_one(ModelService& service, const FrozenProjector& projector,
                           const ServeRequest& request, int rounds) {
  const at::Tensor rows_1TF =
      at::randn({1, request.inputs.front().shape.front(), kSenderWidth}, make_generator(1));
  Phases phases;
  nlohmann::json result = measure([&] { projector.project(rows_1TF); },
                                  [&] { add_phases(service.infer(request), phases); }, rounds);
  for (auto& [phase, microseconds] : phases) {
    result["phase_microseconds"][phase] = median(microseconds);
  }
  return result;
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
  const FrozenProjector loaded(*load_checkpoint(path).projector);
  const auto rows_of = [](int64_t tokens) {
    return at::randn({tokens, kSenderWidth}, make_generator(1));
  };
  const auto one = [&](const ServeRequest& request) {
    return measure_one(*service, loaded, request, rounds);
  };
  nlohmann::json shapes = {{"1 x 1 token", one(request_of(rows_of(1)))},
                           {"1 x 1 token of FP8 codes", one(coded_request_of(1))},
                           {"1 x 256 tokens", one(request_of(rows_of(256)))}};
  {
    const at::Tensor rows_TF = rows_of(256);
    Clients clients(*service, rows_TF, 8);
    shapes["8 x 32 tokens"] =
        measure([&] { loaded.project(rows_TF.unsqueeze(0)); }, [&] { clients.once(); }, rounds);
  }
  const nlohmann::json result = {
      {"threads", at::get_num_threads()},
      {"rounds", rounds},
      {"identical_from_tokens",
       service->model_metadata("flat", "")["parameters"]["identical_from_tokens"]},
      {"shapes", shapes}};
  std::cout << result.dump(2) << "\n";
}
