// A dataset's stored caches against what the model computes for the same tokens. See
// identity_gate.h.
//
// Shapes:  T tokens of a sequence   N kv heads   H head dim
#include <ATen/ATen.h>
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <stdexcept>

#include "kvalign/evaluate/identity_gate.h"
#include "number_text.h"

namespace kvalign {
namespace {

// One sequence as one side of a shard holds it.
struct StoredSequence {
  at::Tensor token_ids;
  KvCache cache;
  at::ScalarType dtype;
};

StoredSequence read_stored(const PairedDataset& dataset, int64_t sequence, const std::string& side,
                           const KvGeometry& geometry) {
  const auto [shard, number] = dataset.place(sequence);
  const std::string prefix = side == "sender" && dataset.has_alignment() ? "sender." : "";
  const at::Tensor offsets = dataset.stored_tensor(shard, prefix + "sequence_offsets");
  const int64_t first = offsets[number].item<int64_t>();
  const int64_t count = offsets[number + 1].item<int64_t>() - first;
  std::vector<at::Tensor> keys, values;
  const auto read = [&](const std::string& kind, int64_t layer) {
    const at::Tensor stored =
        dataset.stored_tensor(shard, side + "." + kind + "." + std::to_string(layer));
    return stored.narrow(0, first, count).transpose(0, 1).unsqueeze(0);  // [1, N, T, H]
  };
  for (int64_t layer = 0; layer < geometry.num_layers; ++layer) {
    keys.push_back(read("keys", layer));
    values.push_back(read("values", layer));
  }
  const at::ScalarType dtype = keys.front().scalar_type();
  return {dataset.stored_tensor(shard, prefix + "token_ids").narrow(0, first, count),
          KvCache(geometry, std::move(keys), std::move(values)), dtype};
}

double tolerance_of(at::ScalarType dtype) {
  if (dtype == at::kFloat) return 1e-3;
  return dtype == at::kHalf ? 5e-3 : 2e-2;
}

}  // namespace

GateResult check_captured_caches(const Decoder& decoder, const PairedDataset& dataset,
                                 const std::vector<int64_t>& sequences, const std::string& side) {
  if (!dataset.has_token_ids()) {
    throw std::invalid_argument("check_captured_caches: " + dataset.folder().string() +
                                " holds no token_ids, so that its caches cannot be compared with "
                                "what the models compute. Capture it again.");
  }
  const at::NoGradGuard no_gradients;
  GateResult result{
      .gate = "dataset", .side = side, .model = decoder.geometry().model, .passed = true};
  std::string deviation;
  double tolerance = 0;
  for (const int64_t sequence : sequences) {
    const StoredSequence stored = read_stored(dataset, sequence, side, decoder.geometry());
    const at::Tensor tokens = stored.token_ids.to(decoder.device()).unsqueeze(0);
    const KvCache computed = *decoder.forward({.token_ids_BT = tokens, .num_logits = 0}).cache;
    tolerance = std::max(tolerance, tolerance_of(stored.dtype));
    const double largest = largest_relative_error(stored.cache, computed);
    result.largest_relative_error = std::max(result.largest_relative_error, largest);
    result.num_tokens += tokens.size(1);
    const auto found = first_deviation(stored.cache, computed, tolerance_of(stored.dtype));
    if (!found || !deviation.empty()) continue;
    deviation = c10::str("; the first to deviate, in sequence ", sequence, ": ", found->text());
  }
  result.passed = deviation.empty();
  result.why =
      c10::str("the dataset's caches of the ", side, " differ from what ", result.model,
               " computes by up to ", format_short(result.largest_relative_error),
               " relative to a stream's norm (allowed: ", format_short(tolerance), ")", deviation);
  return result;
}

}  // namespace kvalign
