// Which paths there are. Private to serve/.
#pragma once

#include <string>
#include <string_view>

namespace kvalign {

enum class Endpoint {
  kServer,          ///< GET /v2
  kLive,            ///< GET /v2/health/live
  kReady,           ///< GET /v2/health/ready
  kModel,           ///< GET /v2/models/M[/versions/V]
  kModelReady,      ///< GET .../ready
  kInfer,           ///< POST .../infer
  kGenerate,        ///< POST .../generate
  kGenerateStream,  ///< POST .../generate_stream
  kMetrics,         ///< GET /metrics
  kStatus,          ///< GET /status
  kStatusPage,      ///< GET /
};

struct Route {
  Endpoint endpoint = Endpoint::kServer;
  std::string model = {};    ///< percent-decoded
  std::string version = {};  ///< empty: the newest
};

/// The route of a request's target; a query is let pass and not used. Throws ServeRefusal: 404 for
/// an unknown path, 405 for another method than the path's, 400 for a wrong percent-encoding.
Route find_route(const std::string& method, std::string_view target);

/// What monitors call it: "infer", "generate", "generate_stream"; empty for all others.
std::string method_name(Endpoint endpoint);

}  // namespace kvalign
