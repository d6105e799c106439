// The receiver goes on greedily, token by token, as text. Private to deploy/.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <set>

#include "kvalign/core/kv_cache.h"
#include "kvalign/serve/inference_service.h"
#include "served_model.h"

namespace kvalign {

/// Consumes `token_ids` (int64 [tokens]) after `cache`, then gives up to `max_tokens` most probable
/// ones, one piece each, until one that ends the text, which has no piece, or a sink that says
/// false. A character that needs several tokens is in the last one's piece. Returns how many tokens
/// were generated, the ending one counted.
int64_t continue_text(const ServedReceiver& receiver, const std::optional<KvCache>& cache,
                      const at::Tensor& token_ids, int64_t max_tokens, const PieceSink& sink);

}  // namespace kvalign
