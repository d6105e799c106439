// What a load generator sends to a server of the Open Inference Protocol, how fast, and what it
// demands of the answers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Scenarios are those of MLPerf Inference (Reddi et al., ISCA 2020, section III): a single stream
/// sends the next query after the answer to the last; a server's queries arrive at random, as a
/// Poisson process; offline they are all there at once.
struct KVALIGN_API LoadOptions {
  std::string url = "http://127.0.0.1:8000";
  std::string model = {};
  std::string version = {};
  std::string scenario = "single_stream";
  std::string request = "infer";
  std::string input = "features";
  std::vector<std::string> packets = {};
  std::vector<int64_t> tokens = {1};
  int64_t max_tokens = 16;
  int64_t queries = 1000;
  int64_t warmup_queries = 20;
  int64_t connections = 8;
  int64_t seed = 1;
  double queries_per_second = 0;
  double timeout_seconds = 30;
  double latency_bound_ms = 0;
  double min_queries_per_second = 0;
  std::string log = {};
  std::string token_file = {};
  std::string ca_file = {};

  void describe(OptionVisitor& visitor);

  bool reads_packets() const { return request == "generate" || input == "packet"; }
};

/// The share of queries that must be answered within the latency bound: LoadGen's percentiles, 0.9
/// for a single stream, 0.99 for a server.
KVALIGN_API double share_within_bound(const LoadOptions& options);

/// What validate_options cannot know of one field alone. Throws std::invalid_argument that names
/// the key and what to do.
KVALIGN_API void check_load_options(const LoadOptions& options);

}  // namespace kvalign
