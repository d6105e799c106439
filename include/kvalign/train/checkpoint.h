// The product of training: one safetensors file with the weights of a projector, of the task head
// that was fine-tuned with it and, as metadata, what is needed to use them and to know where they
// come from. Not a training state: no optimiser, and the standardisation is folded into the
// weights, so whoever uses it needs no statistics.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "kvalign/format/export.h"
#include "kvalign/loss/task_head.h"

namespace kvalign {

class KvProjector;

struct Checkpoint {
  std::shared_ptr<KvProjector> projector;  ///< knows its options, layer map and both geometries
  std::string recipe;                      ///< resolved YAML of the run that made it
  std::string metrics = "{}";              ///< JSON object: validation loss, its terms, step, epoch
  std::string dataset_sha256;              ///< of the index.json it was trained on
  std::string split_sha256;  ///< which sequences were held out: an evaluation must use the same
  int64_t num_sinks = 0;     ///< attention sinks at each start in the dataset, tokens
  int64_t skip_first_tokens = 0;           ///< tokens at each start that were left out of training
  std::optional<TaskHead> task_head = {};  ///< of a fine-tuned checkpoint; reads projected caches
};

/// Writes `checkpoint` to `path` atomically. The projector is not changed: folding works on a copy.
/// Equal checkpoints give equal bytes. Throws std::runtime_error where the file cannot be written.
KVALIGN_API void save_checkpoint(const std::string& path, const Checkpoint& checkpoint);

/// Reads a checkpoint; the projector is on the CPU. Throws std::runtime_error, naming the file,
/// what was expected and what came, for: another format version, missing or malformed metadata, a
/// missing, unknown, misshapen or not float32 tensor; and the safetensors reader's errors for a
/// damaged file or weights that are not finite.
KVALIGN_API Checkpoint load_checkpoint(const std::string& path);

}  // namespace kvalign
