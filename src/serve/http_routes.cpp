// From paths to endpoints. See the header.
#include "http_routes.h"

#include <charconv>
#include <vector>

#include "kvalign/serve/inference_service.h"

namespace kvalign {
namespace {

[[noreturn]] void no_such_path() {
  throw ServeRefusal(404, "unknown_path",
                     "HTTP: no such path; known: /v2, /v2/health/live, /v2/health/ready, "
                     "/v2/models/MODEL[/versions/VERSION] and with /ready, /infer, /generate or "
                     "/generate_stream behind it, /metrics, /status and /");
}

std::string percent_decoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    unsigned byte = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16).ptr;
    if (digits.size() != 2 || end != digits.data() + 2 || byte < ' ') {
      throw ServeRefusal(400, "malformed", "HTTP: expected % and two hexadecimal digits in a path");
    }
    decoded += static_cast<char>(byte);
    i += 2;
  }
  return decoded;
}

// The names between slashes; "/a/b" has two, "/" has one, which is empty.
std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    path.remove_prefix(1);
    const size_t end = std::min(path.find('/'), path.size());
    parts.push_back(percent_decoded(path.substr(0, end)));
    path.remove_prefix(end);
  }
  return parts;
}

Endpoint endpoint_of_model(const std::string& action) {
  if (action == "ready") return Endpoint::kModelReady;
  if (action == "infer") return Endpoint::kInfer;
  if (action == "generate") return Endpoint::kGenerate;
  if (action == "generate_stream") return Endpoint::kGenerateStream;
  no_such_path();
}

Route route_of_model(const std::vector<std::string>& parts) {
  Route route = {Endpoint::kModel, parts[2]};
  size_t next = 3;
  if (parts.size() > next + 1 && parts[next] == "versions") {
    route.version = parts[next + 1];
    next += 2;
  }
  if (parts.size() > next + 1 || route.model.empty()) no_such_path();
  if (parts.size() == next + 1) route.endpoint = endpoint_of_model(parts[next]);
  return route;
}

Route route_of(const std::vector<std::string>& parts) {
  if (parts == std::vector<std::string>{""}) return {Endpoint::kStatusPage};
  if (parts == std::vector<std::string>{"metrics"}) return {Endpoint::kMetrics};
  if (parts == std::vector<std::string>{"status"}) return {Endpoint::kStatus};
  if (parts == std::vector<std::string>{"v2"}) return {Endpoint::kServer};
  if (parts == std::vector<std::string>{"v2", "health", "live"}) return {Endpoint::kLive};
  if (parts == std::vector<std::string>{"v2", "health", "ready"}) return {Endpoint::kReady};
  if (parts.size() >= 3 && parts[0] == "v2" && parts[1] == "models") return route_of_model(parts);
  no_such_path();
}

}  // namespace

std::string method_name(Endpoint endpoint) {
  if (endpoint == Endpoint::kInfer) return "infer";
  if (endpoint == Endpoint::kGenerate) return "generate";
  if (endpoint == Endpoint::kGenerateStream) return "generate_stream";
  return "";
}

Route find_route(const std::string& method, std::string_view target) {
  Route route = route_of(parts_of(target.substr(0, target.find('?'))));
  const bool wants_post = !method_name(route.endpoint).empty();
  if ((method == "POST") != wants_post) {
    throw ServeRefusal(405, "malformed",
                       std::string("HTTP: expected the method ") + (wants_post ? "POST" : "GET") +
                           " for this path, got " + method);
  }
  return route;
}

}  // namespace kvalign
