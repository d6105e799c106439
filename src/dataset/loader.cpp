// The order of an epoch, and the thread that reads ahead of it.
#include "kvalign/dataset/loader.h"

#include <ATen/ATen.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "kvalign/core/random.h"
#include "kvalign/ops/fp8_wire.h"

namespace kvalign {

void LoaderOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "batch_tokens",
                 .help = "tokens of a batch, filled with whole sequences",
                 .minimum = 1},
                batch_tokens);
  visitor.field({.name = "prefetch_batches",
                 .help = "batches read ahead on a thread; each costs its size in memory",
                 .minimum = 1},
                prefetch_batches);
  visitor.field({.name = "shuffle", .help = "a new order of sequences every epoch"}, shuffle);
  std::vector<std::string> wires = {"stored"};
  wires.insert(wires.end(), fp8_wire_names().begin(), fp8_wire_names().end());
  visitor.field(
      {.name = "wire",
       .help = "type in which the sender's caches arrive: as stored, or FP8 and what shares "
               "a scale, so that the fit sees what the wire does",
       .one_of = wires},
      wire);
}

namespace {

std::optional<Fp8Wire> wire_of(const LoaderOptions& options) {
  if (options.wire == "stored") return std::nullopt;
  return parse_fp8_wire(options.wire);
}

/// Reads batches of a plan, in order, into a queue of limited length. One producer, one consumer.
class Prefetcher {
 public:
  Prefetcher(const PairedDataset& dataset, std::vector<std::vector<int64_t>> plan,
             const LoaderOptions& options)
      : dataset_(dataset),
        plan_(std::move(plan)),
        skip_first_tokens_(options.skip_first_tokens),
        limit_(static_cast<size_t>(options.prefetch_batches)),
        wire_(wire_of(options)),
        thread_([this](const std::stop_token& stop) { produce(stop); }) {}

  bool next(PairedBatch& batch) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !ready_.empty() || done_; });
    if (!ready_.empty()) {
      batch = std::move(ready_.front());
      ready_.pop_front();
      changed_.notify_all();
      return true;
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    return false;
  }

 private:
  void produce(const std::stop_token& stop) {
    std::exception_ptr error;
    try {
      for (const std::vector<int64_t>& sequences : plan_) {
        PairedBatch batch = dataset_.read(sequences, skip_first_tokens_);
        if (wire_) {
          batch.sender_STd = send_caches(*wire_, batch.sender_STd, batch.sequence_offsets,
                                         dataset_.index().sender.geometry.num_kv_heads);
        }
        std::unique_lock lock(mutex_);
        if (!changed_.wait(lock, stop, [this] { return ready_.size() < limit_; })) return;
        ready_.push_back(std::move(batch));
        changed_.notify_all();
      }
    } catch (...) {
      error = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    error_ = error;
    done_ = true;
    changed_.notify_all();
  }

  const PairedDataset& dataset_;
  const std::vector<std::vector<int64_t>> plan_;
  const int64_t skip_first_tokens_;
  const size_t limit_;
  const std::optional<Fp8Wire> wire_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable_any changed_;
  std::deque<PairedBatch> ready_;
  std::exception_ptr error_;
  bool done_ = false;
  std::jthread thread_;  // last: it stops and joins before the rest goes
};

}  // namespace

struct BatchLoader::State {
  std::shared_ptr<const PairedDataset> dataset;
  std::vector<int64_t> sequences;
  LoaderOptions options;
  std::unique_ptr<Prefetcher> prefetcher;
};

BatchLoader::BatchLoader(std::shared_ptr<const PairedDataset> dataset,
                         std::vector<int64_t> sequences, const LoaderOptions& options)
    : state_(std::make_unique<State>()) {
  TORCH_CHECK(!sequences.empty(), "BatchLoader: expected sequences, got none.");
  TORCH_CHECK(
      options.batch_tokens >= 1 && options.prefetch_batches >= 1 && options.skip_first_tokens >= 0,
      "BatchLoader: expected batch_tokens and prefetch_batches of at least 1 and "
      "skip_first_tokens of at least 0, got ",
      options.batch_tokens, ", ", options.prefetch_batches, " and ", options.skip_first_tokens,
      ".");
  wire_of(options);                                                   // throws if unknown
  for (const int64_t sequence : sequences) dataset->place(sequence);  // throws if out of range
  *state_ = {std::move(dataset), std::move(sequences), options, nullptr};
}

BatchLoader::~BatchLoader() = default;

std::vector<std::vector<int64_t>> BatchLoader::plan(int64_t epoch) const {
  const LoaderOptions& options = state_->options;
  const auto count = static_cast<int64_t>(state_->sequences.size());
  std::vector<int64_t> order;
  if (options.shuffle) {
    order = shuffled_indices(
        count, derive_seed(static_cast<uint64_t>(options.seed), static_cast<uint64_t>(epoch)));
  }
  std::vector<std::vector<int64_t>> batches;
  int64_t tokens_in_batch = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto place = static_cast<size_t>(options.shuffle ? order[static_cast<size_t>(i)] : i);
    const int64_t sequence = state_->sequences[place];
    const int64_t tokens = state_->dataset->sequence_length(sequence) - options.skip_first_tokens;
    if (batches.empty() || tokens_in_batch + tokens > options.batch_tokens) {
      batches.emplace_back();
      tokens_in_batch = 0;
    }
    batches.back().push_back(sequence);
    tokens_in_batch += tokens;
  }
  return batches;
}

int64_t BatchLoader::num_batches(int64_t epoch) const {
  return static_cast<int64_t>(plan(epoch).size());
}

int64_t BatchLoader::num_tokens() const {
  int64_t tokens = 0;
  for (const int64_t sequence : state_->sequences) {
    tokens += state_->dataset->sequence_length(sequence) - state_->options.skip_first_tokens;
  }
  return tokens;
}

void BatchLoader::start(int64_t epoch, int64_t first_batch) {
  std::vector<std::vector<int64_t>> batches = plan(epoch);
  const auto count = static_cast<int64_t>(batches.size());
  TORCH_CHECK(first_batch >= 0 && first_batch <= count,
              "BatchLoader::start: expected a first batch from 0 to ", count, " of epoch ", epoch,
              ", got ", first_batch, ". Was the run started with other loader options?");
  batches.erase(batches.begin(), batches.begin() + first_batch);
  state_->prefetcher.reset();  // joins the old thread before a new one starts
  state_->prefetcher =
      std::make_unique<Prefetcher>(*state_->dataset, std::move(batches), state_->options);
}

bool BatchLoader::next(PairedBatch& batch) {
  TORCH_CHECK(state_->prefetcher != nullptr, "BatchLoader::next: call start() first.");
  return state_->prefetcher->next(batch);
}

}  // namespace kvalign
