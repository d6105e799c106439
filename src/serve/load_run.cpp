// See load.h.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "kvalign/core/files.h"
#include "kvalign/serve/load.h"
#include "load_client.h"
#include "load_schedule.h"

namespace kvalign {
namespace {

constexpr auto kBetweenLooks = std::chrono::milliseconds(100);  // at progress and at stop requests

LoadClock::duration of_seconds(double seconds) {
  return std::chrono::duration_cast<LoadClock::duration>(std::chrono::duration<double>(seconds));
}

// Some queries, shared by the threads that send them.
class Phase {
 public:
  // `arrivals`: seconds from the start, one a query; empty where each comes after the last.
  Phase(const LoadInputs& inputs, std::string id_prefix, int64_t count,
        std::vector<double> arrivals)
      : inputs_(inputs),
        id_prefix_(std::move(id_prefix)),
        arrivals_(std::move(arrivals)),
        queries_(static_cast<size_t>(count)) {}

  // Sends what is left of the queries, one after the other. Any number of threads may.
  void send_from(LoadClient& client) {
    while (true) {
      const size_t number = next_.fetch_add(1);
      if (number >= queries_.size()) return;
      LoadQuery& query = queries_[number];
      query.id = id_prefix_ + std::to_string(number);
      const LoadInput& input = inputs_.of(static_cast<int64_t>(number));
      query.tokens = input.tokens;
      httplib::Request request = client.prepare(query.id, input);
      if (!arrivals_.empty()) query.scheduled = arrivals_[number];
      if (!sleep_until(start_ + of_seconds(query.scheduled))) return;
      client.send(request, start_, query);
      if (arrivals_.empty()) query.scheduled = query.sent;
      ++done_;
    }
  }

  // Sends all of them over `clients` and waits; they are the queries that were sent, in order.
  std::vector<LoadQuery> run(std::vector<LoadClient>& clients, const LoadProgress& progress,
                             const std::function<bool()>& stop_requested) {
    std::vector<std::jthread> threads;
    size_t running = clients.size();
    start_ = LoadClock::now();
    for (LoadClient& client : clients) {
      threads.emplace_back([&] {
        send_from(client);
        const std::lock_guard lock(mutex_);
        --running;
        changed_.notify_all();
      });
    }
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kBetweenLooks, [&] { return running == 0; })) {
      lock.unlock();
      if (progress) progress(done_, static_cast<int64_t>(queries_.size()));
      const bool stop = stop_requested && stop_requested();
      lock.lock();
      stopped_ = stopped_ || stop;
      if (stop) changed_.notify_all();
    }
    lock.unlock();
    threads.clear();
    std::erase_if(queries_, [](const LoadQuery& query) { return query.done == 0; });
    return std::move(queries_);
  }

 private:
  // False where the queries shall end.
  bool sleep_until(LoadClock::time_point when) {
    std::unique_lock lock(mutex_);
    if (when <= LoadClock::now()) return !stopped_;
    return !changed_.wait_until(lock, when, [&] { return stopped_; });
  }

  const LoadInputs& inputs_;
  const std::string id_prefix_;
  const std::vector<double> arrivals_;
  std::vector<LoadQuery> queries_;
  LoadClock::time_point start_ = {};
  std::atomic<size_t> next_ = 0;
  std::atomic<int64_t> done_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;  // guarded by mutex_
};

std::vector<double> arrivals_of(const LoadOptions& options) {
  if (options.scenario == "single_stream") return {};
  if (options.scenario == "offline") {
    return std::vector<double>(static_cast<size_t>(options.queries), 0.0);
  }
  return poisson_arrivals(options.queries, options.queries_per_second,
                          static_cast<uint64_t>(options.seed));
}

void write_log(const std::string& path, const std::vector<LoadQuery>& queries) {
  AtomicFile file(path);
  for (const LoadQuery& query : queries) file.write(to_json(query).dump() + "\n");
  file.commit();
}

}  // namespace

LoadResult run_load(const LoadOptions& options, const LoadProgress& progress,
                    const std::function<bool()>& stop_requested) {
  check_load_options(options);
  std::vector<LoadClient> clients;
  const int64_t count = options.scenario == "single_stream" ? 1 : options.connections;
  for (int64_t i = 0; i < count; ++i) clients.emplace_back(options);
  const nlohmann::json metadata = clients.front().model_metadata();
  const LoadInputs inputs(options, metadata);

  // Clients of different seeds can run against one server without a common id.
  const std::string prefix = "load-" + std::to_string(options.seed) + "-";
  Phase(inputs, prefix + "warmup-", options.warmup_queries, {}).run(clients, {}, stop_requested);
  const std::vector<LoadQuery> queries =
      Phase(inputs, prefix, options.queries, arrivals_of(options))
          .run(clients, progress, stop_requested);
  if (!options.log.empty()) write_log(options.log, queries);
  if (queries.empty()) throw std::runtime_error("load: stopped before the first query was done");
  LoadResult result = summarise_load(options, queries);
  result.interrupted = result.queries < options.queries;
  const nlohmann::json versions = metadata.value("versions", nlohmann::json::array());
  result.version = !options.version.empty() ? options.version
                   : versions.is_array() && !versions.empty() && versions.back().is_string()
                       ? versions.back().get<std::string>()
                       : "";
  return result;
}

}  // namespace kvalign
