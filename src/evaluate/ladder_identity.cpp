// Four checks: each side's own caches, and the dataset's. See ladder_identity.h.
#include "ladder_identity.h"

#include <algorithm>

namespace kvalign {
namespace {

std::vector<at::Tensor> tokens_of(const LadderSetup& setup, at::Tensor LadderText::*side) {
  std::vector<at::Tensor> tokens;
  for (const LadderText& text : setup.texts) tokens.push_back(text.*side);
  return tokens;
}

// The first two held-out sequences of the dataset.
std::vector<int64_t> probes(const Split& split) {
  const size_t count = std::min<size_t>(2, split.test.size());
  return {split.test.begin(), split.test.begin() + count};
}

}  // namespace

std::vector<GateResult> check_setup_identity(const LadderSetup& setup,
                                             const CacheTransport& transport,
                                             const EvaluateProgress& progress) {
  std::vector<GateResult> results;
  const auto add = [&](GateResult result) {
    results.push_back(std::move(result));
    if (progress) progress("identity gate", static_cast<int64_t>(results.size()), 4);
  };
  const auto check = [&](const Decoder& decoder, const char* side, at::Tensor LadderText::*tokens) {
    add(check_own_cache(
        decoder, tokens_of(setup, tokens),
        {.side = side, .min_tokens = setup.options.gate_tokens, .transport = transport}));
    add(check_captured_caches(decoder, *setup.dataset, probes(setup.split), side));
  };
  check(setup.receiver, "receiver", &LadderText::receiver_tokens);
  check(setup.sender, "sender", &LadderText::sender_tokens);
  return results;
}

}  // namespace kvalign
