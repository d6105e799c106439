// Puts load on a server of the Open Inference Protocol and measures its answers. Nothing of the
// server is known here but its address: it may be any other that speaks the protocol.
#pragma once

#include <cstdint>
#include <functional>

#include "kvalign/format/export.h"
#include "kvalign/serve/load_options.h"
#include "kvalign/serve/load_result.h"

namespace kvalign {

/// Queries done, and all of them.
using LoadProgress = std::function<void(int64_t done, int64_t total)>;

/// Sends the warm-up and then the queries, each connection from a thread of its own, each
/// connection kept alive. Arrivals are drawn beforehand and never wait for answers: a query that
/// finds no free connection waits for one, and its latency counts that wait. No query is sent
/// twice. Queries end early where `stop_requested` says so. Throws std::invalid_argument as
/// check_load_options; std::runtime_error where the server or the model
/// does not answer at the start, where the model has not the input that is asked for, and for a
/// packet or token file that cannot be read.
KVALIGN_API LoadResult run_load(const LoadOptions& options, const LoadProgress& progress = {},
                                const std::function<bool()>& stop_requested = {});

}  // namespace kvalign
