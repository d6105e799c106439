// Batches of a dataset in a shuffled order, read ahead on a thread. The order depends on
// (sequences, options, epoch) alone, so that a run can be resumed in the middle of an epoch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// The struct of a recipe's `loader` section; skip_first_tokens and seed are set by the caller from
/// the recipe's own fields.
struct KVALIGN_API LoaderOptions {
  int64_t batch_tokens = 800;
  int64_t prefetch_batches = 2;
  bool shuffle = true;
  std::string wire = "stored";    ///< that the sender's caches cross: stored, or an Fp8Wire
  int64_t skip_first_tokens = 0;  ///< not a field of the recipe's section
  int64_t seed = 1;               ///< not a field of the recipe's section
  void describe(OptionVisitor& visitor);
};

/// Not thread-safe itself: one thread calls start() and next().
class KVALIGN_API BatchLoader {
 public:
  /// Throws c10::Error for an empty list, a number out of range or an option out of range, and
  /// std::invalid_argument for an unknown wire.
  BatchLoader(std::shared_ptr<const PairedDataset> dataset, std::vector<int64_t> sequences,
              const LoaderOptions& options);
  ~BatchLoader();  ///< stops and joins the thread
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;

  /// The sequences of each batch of an epoch, in order. Batches are whole sequences, in the order
  /// of the shuffle, taken until batch_tokens would be exceeded (skipped tokens do not count); a
  /// longer sequence is a batch of its own.
  std::vector<std::vector<int64_t>> plan(int64_t epoch) const;
  int64_t num_batches(int64_t epoch) const;
  int64_t num_tokens() const;  ///< of an epoch, without skipped ones

  /// Begins an epoch at a batch, dropping what was read ahead of another. `first_batch` may equal
  /// num_batches(epoch). Throws c10::Error where it is out of range.
  void start(int64_t epoch, int64_t first_batch = 0);

  /// The next batch; false at the end of the epoch. Rethrows what the thread met, in order: batches
  /// before the bad one still come.
  bool next(PairedBatch& batch);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kvalign
