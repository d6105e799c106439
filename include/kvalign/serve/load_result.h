// What came of a load: one record a query, and the figures made from them. Measured on the queries
// that were sent; nothing is said of others.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/serve/load_options.h"

namespace kvalign {

/// Times are seconds since the run began. `error` is empty where the query was answered, HTTP's
/// status where that is not 200, and else one of
///   unreachable  no connection        malformed   status 200, but not what the protocol demands
///   timeout      no byte in time      mismatched  the answer to another query
///   lost         the connection ended before the answer did
///   failed       a stream of text that ended with an error
struct LoadQuery {
  std::string id = {};
  double scheduled = 0;  ///< when it arrived; latency counts from here, whenever it was sent
  double sent = 0;
  double done = 0;
  std::vector<double> pieces = {};  ///< when each piece of text came
  int status = 0;                   ///< of HTTP; 0 without an answer
  std::string error = {};           ///< see above
  std::string outcome = {};         ///< "applied", ...; empty where the server says none
  bool retry_after = false;         ///< the answer says when to come back
  int64_t tokens = 0;               ///< that it sent

  bool answered() const { return error.empty(); }
  double latency() const { return done - scheduled; }
};

/// The ceil(n q)-th smallest: a number of the list, exact. NaN of none.
struct LoadPercentiles {
  double p50 = std::numeric_limits<double>::quiet_NaN();
  double p90 = std::numeric_limits<double>::quiet_NaN();
  double p99 = std::numeric_limits<double>::quiet_NaN();
  double p99_9 = std::numeric_limits<double>::quiet_NaN();
  double max = std::numeric_limits<double>::quiet_NaN();
};

KVALIGN_API LoadPercentiles load_percentiles(std::vector<double> values);

/// Seconds, and counts of queries. Percentiles of latency, of first pieces and of pauses are over
/// the answered queries; those of send delays over all.
struct LoadResult {
  LoadOptions options = {};
  std::string version = {};  ///< that the server named
  bool interrupted = false;  ///< fewer queries than asked for were sent
  int64_t queries = 0;       ///< sent
  int64_t answered = 0;      ///< with status 200 and a body that could be read
  int64_t good = 0;          ///< of them: applied, and within the latency bound if there is one
  std::map<std::string, int64_t> outcomes = {};  ///< of the answered
  std::map<std::string, int64_t> errors = {};    ///< of the others, by status or by a word
  int64_t retry_after = 0;                       ///< of the errors with that header
  double seconds = 0;                            ///< until the last query was done
  int64_t tokens = 0;                            ///< sent with the answered queries
  int64_t pieces = 0;                            ///< of text that came with them
  LoadPercentiles latency = {};
  LoadPercentiles send_delay = {};   ///< between a query's arrival and its sending
  LoadPercentiles first_piece = {};  ///< since the query's arrival
  LoadPercentiles between_pieces = {};

  double goodput() const { return static_cast<double>(good) / static_cast<double>(queries); }
  double queries_per_second() const { return static_cast<double>(answered) / seconds; }
};

KVALIGN_API LoadResult summarise_load(const LoadOptions& options,
                                      const std::vector<LoadQuery>& queries);

/// The bounds that were given and are not met, a sentence each; empty where all are, or none was
/// given. A query that failed counts as late.
KVALIGN_API std::vector<std::string> bounds_not_met(const LoadResult& result);

KVALIGN_API nlohmann::json to_json(const LoadResult& result);
KVALIGN_API std::string to_text(const LoadResult& result);

/// One line of the log.
KVALIGN_API nlohmann::json to_json(const LoadQuery& query);

}  // namespace kvalign
