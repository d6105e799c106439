// What is known of one request after it was answered: what metrics, the status page and the drift
// test are made from. Whoever answers fills what it knows; nothing else is recorded anywhere.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "kvalign/format/export.h"

namespace kvalign {

/// What became of the cache that a request brought.
enum class CacheOutcome {
  kApplied,            ///< used as it came
  kFallbackReprefill,  ///< refused by the guard; the receiver reads the text itself, or must
  kUnsupported,        ///< nothing here can use it: another model, another encoder
};

/// "applied", "fallback_reprefill", "unsupported".
KVALIGN_API const char* name_of(CacheOutcome outcome);

struct RequestRecord {
  std::string model = {};
  std::string method = {};                             ///< "infer", "generate", "generate_stream"
  int status = 200;                                    ///< of HTTP
  std::optional<CacheOutcome> outcome = std::nullopt;  ///< none where the request was refused
  std::string reason = {};  ///< of the guard or the refusal: one of a few short words, as a label
  std::map<std::string, double> phase_seconds = {};  ///< "read", "queue", "decode", "guard", ...
  int64_t tokens = 0;                                ///< of the cache that came
  int64_t generated_tokens = 0;
  int64_t bytes_received = 0;  ///< of the body
  int64_t bytes_sent = 0;
  int64_t elements = 0;   ///< FP8 codes that came
  int64_t saturated = 0;  ///< of them with the largest code
  /// |x - x_hat| / |x_hat| at most, of the FP8 numbers that came, median over tokens.
  std::optional<double> certified_wire_error = std::nullopt;
  /// |P(x) - P(x_hat)| / |P(x_hat)| at most, median over tokens; the largest of the streams.
  std::optional<double> certified_error = std::nullopt;
  /// |projected - true| / |true| of a shadow-sampled request.
  std::optional<double> measured_error = std::nullopt;
  /// What the drift test looks at: one number of this request, in the units of its reference.
  std::optional<double> drift_score = std::nullopt;
};

}  // namespace kvalign
