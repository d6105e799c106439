// Random requests recorded from several threads, for counters_test.py, deploy_files_test.py and
// page_test.py: a log of each thread's records beside what the monitor says of them.
//   kvalign_monitor_traffic FOLDER REQUESTS THREADS
// writes records-<thread>.jsonl, metrics.txt, status.json and page.html, and prints the
// microseconds that a record took on average.
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kvalign/monitor/monitor.h"
#include "kvalign/monitor/status_page.h"

namespace {

using kvalign::CacheOutcome;
using kvalign::RequestRecord;
using nlohmann::json;

class RandomRecords {
 public:
  explicit RandomRecords(uint64_t seed) : random_(seed) {}

  RequestRecord next() {
    RequestRecord record;
    record.model = one_of({"demo", "demo", "qwen", "", "unheard-of", "../../etc"});
    record.method =
        one_of({"infer", "infer", "generate", "generate_stream", "metadata", "Drop it"});
    record.bytes_received = below(1 << 20);
    record.phase_seconds["read"] = seconds();
    if (below(10) == 0) {
      record.status = static_cast<int>(400 + below(5));
      record.reason = one_of({"invalid", "busy", "deadline", "too_large"});
    } else {
      fill_answer(record);
    }
    return record;
  }

 private:
  void fill_answer(RequestRecord& record) {
    const int64_t kind = below(20);
    record.outcome = kind == 0   ? CacheOutcome::kUnsupported
                     : kind <= 3 ? CacheOutcome::kFallbackReprefill
                                 : CacheOutcome::kApplied;
    if (kind <= 3) record.reason = one_of({"saturation", "norm", "not_finite", "encoder"});
    for (const char* phase :
         {"queue", "decode", "guard", "project", "certify", "write", "my own"}) {
      if (below(4) != 0) record.phase_seconds[phase] = seconds();
    }
    record.tokens = below(2000);
    record.generated_tokens = below(64);
    record.bytes_sent = below(1 << 24);
    record.elements = record.tokens * 512;
    record.saturated = below(record.elements / 100 + 1);
    if (below(3) != 0) record.certified_wire_error = error();
    if (below(3) != 0) record.certified_error = error();
    if (below(10) == 0) record.measured_error = error();
    if (below(2) == 0) record.drift_score = std::normal_distribution<double>()(random_);
  }

  int64_t below(int64_t bound) { return static_cast<int64_t>(random_() % uint64_t(bound)); }
  const char* one_of(const std::vector<const char*>& words) {
    return words[static_cast<size_t>(below(static_cast<int64_t>(words.size())))];
  }
  // Multiples of 2^-30 up to 8 s, and edges of buckets: sums of either are exact in double, in any
  // order, but for those edges that are no binary fractions.
  double seconds() {
    return below(8) == 0
               ? std::ldexp(static_cast<double>(below(4)), -1)
               : std::ldexp(static_cast<double>(below(int64_t{1} << (5 + below(29)))), -30);
  }
  double error() {
    const int64_t kind = below(50);
    if (kind == 0) return std::numeric_limits<double>::infinity();
    if (kind == 1) return std::numeric_limits<double>::quiet_NaN();
    return kind == 2 ? 0.0625 : std::ldexp(static_cast<double>(1 + below(1 << 12)), -11);
  }

  std::mt19937_64 random_;
};

// A number that JSON lacks is its name.
json shown(const std::optional<double>& value) {
  if (!value) return nullptr;
  return std::isfinite(*value) ? json(*value) : json(std::isnan(*value) ? "nan" : "inf");
}

json to_json(const RequestRecord& record) {
  return {{"model", record.model},
          {"method", record.method},
          {"status", record.status},
          {"outcome", record.outcome ? json(kvalign::name_of(*record.outcome)) : json()},
          {"reason", record.reason},
          {"phase_seconds", record.phase_seconds},
          {"tokens", record.tokens},
          {"generated_tokens", record.generated_tokens},
          {"bytes_received", record.bytes_received},
          {"bytes_sent", record.bytes_sent},
          {"elements", record.elements},
          {"saturated", record.saturated},
          {"certified_wire_error", shown(record.certified_wire_error)},
          {"certified_error", shown(record.certified_error)},
          {"measured_error", shown(record.measured_error)},
          {"drift_score", shown(record.drift_score)}};
}

double send(kvalign::Monitor& monitor, const std::string& log_path, uint64_t seed, int64_t count) {
  std::ofstream log(log_path);
  RandomRecords records(seed);
  std::chrono::duration<double> recording{0};
  for (int64_t i = 0; i < count; ++i) {
    const kvalign::RequestInFlight in_flight(monitor);
    const RequestRecord record = records.next();
    log << to_json(record).dump() << "\n";
    const auto begin = std::chrono::steady_clock::now();
    monitor.record(record);
    recording += std::chrono::steady_clock::now() - begin;
  }
  return recording.count();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argv[1];
  const int64_t requests = std::stoll(argv[2]), threads = std::stoll(argv[3]);
  kvalign::Monitor monitor({"demo", "qwen", "unused"}, {.round_requests = 2000});
  std::mt19937_64 random(7);
  kvalign::DriftReference reference{.checkpoint = std::string(64, '0')};
  for (int i = 0; i < 400; ++i) {
    reference.scores.push_back(std::normal_distribution<double>()(random));
  }
  monitor.watch_drift("demo", reference);
  monitor.set_ready(true);
  monitor.set_queue_capacity(64);
  monitor.set_queue_depth(3);
  monitor.record_reload("demo", true);
  std::vector<double> seconds(static_cast<size_t>(threads));
  std::vector<std::thread> senders;
  for (int64_t i = 0; i < threads; ++i) {
    senders.emplace_back([&, i] {
      seconds[static_cast<size_t>(i)] =
          send(monitor, folder + "/records-" + std::to_string(i) + ".jsonl",
               static_cast<uint64_t>(i), requests / threads);
    });
  }
  for (std::thread& sender : senders) sender.join();
  double total = 0;
  for (const double part : seconds) total += part;
  std::ofstream(folder + "/metrics.txt") << monitor.prometheus_text();
  std::ofstream(folder + "/status.json") << monitor.status_json();
  std::ofstream(folder + "/page.html") << kvalign::status_page();
  std::cout << 1e6 * total / static_cast<double>(requests) << "\n";
}
