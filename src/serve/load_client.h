// One connection of a load generator, kept alive over its queries. Not for several threads at once.
// Private to serve/.
#pragma once

#include <httplib.h>

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kvalign/serve/load_options.h"
#include "kvalign/serve/load_result.h"
#include "load_inputs.h"

namespace kvalign {

using LoadClock = std::chrono::steady_clock;

class LoadClient {
 public:
  /// Connects with the first request. Throws std::runtime_error for a token file that cannot be
  /// read.
  explicit LoadClient(const LoadOptions& options);

  /// The model's metadata. Throws std::runtime_error where none comes.
  nlohmann::json model_metadata();

  /// Makes the request, so that send() has only to send it.
  httplib::Request prepare(const std::string& id, const LoadInput& input) const;

  /// Sends it once and waits for the answer. `query` has an id, and gets all but its arrival and
  /// its tokens; times are counted from `start`.
  void send(httplib::Request& request, LoadClock::time_point start, LoadQuery& query);

 private:
  std::string path_of_model() const;
  void read_answer(const httplib::Response& response, LoadQuery& query) const;

  LoadOptions options_;
  httplib::Headers headers_;
  httplib::Client client_;
};

}  // namespace kvalign
