// Endpoints that do not run a model, and refusals. See the header.
#include "http_handlers.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace kvalign {
namespace {

bool is_health(Endpoint endpoint) {
  return endpoint == Endpoint::kLive || endpoint == Endpoint::kReady ||
         endpoint == Endpoint::kModelReady;
}

HttpResponse json_response(const nlohmann::json& json, int status = 200) {
  return {.status = status, .body = json.dump()};
}

HttpResponse page(const std::function<std::string()>& make, const char* content_type) {
  if (!make) throw ServeRefusal(404, "unknown_path", "HTTP: this server was not given that page");
  HttpResponse response = {.content_type = content_type, .body = make()};
  // The page is whole in itself: nothing that a stranger puts into a label may load or send.
  response.headers.emplace_back(
      "Content-Security-Policy",
      "default-src 'none'; style-src 'unsafe-inline'; script-src "
      "'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'");
  return response;
}

}  // namespace

HttpHandlers::HttpHandlers(const ServeOptions& options, InferenceService& service,
                           const HttpCallbacks& callbacks, const std::atomic<bool>& is_draining)
    : options_(options),
      service_(service),
      callbacks_(callbacks),
      is_draining_(is_draining),
      limits_{.max_json_bytes = options.max_json_bytes} {
  if (!options.token_file.empty()) token_ = std::make_unique<BearerToken>(options.token_file);
}

Route HttpHandlers::admit(const HttpHead& head, RequestRecord& record) const {
  const Route route = find_route(head.method, head.target);
  record.method = method_name(route.endpoint);
  if (token_ && !is_health(route.endpoint)) token_->check(head);
  const std::vector<std::string> models = service_.models();
  if (std::find(models.begin(), models.end(), route.model) != models.end()) {
    record.model = route.model;
  }
  return route;
}

HttpResponse HttpHandlers::answer(const Route& route, HttpRequest& request,
                                  AccessLogEntry& entry) const {
  switch (route.endpoint) {
    case Endpoint::kServer:
      return server_metadata();
    case Endpoint::kLive:
      return readiness(true, "live");
    case Endpoint::kReady:
      return readiness(!is_draining_ && service_.ready(), "ready");
    case Endpoint::kModel:
      return json_response(service_.model_metadata(route.model, route.version));
    case Endpoint::kModelReady:
      return readiness(!is_draining_ && service_.model_ready(route.model, route.version), "ready");
    case Endpoint::kInfer:
      return infer(route, request, entry);
    case Endpoint::kGenerate:
      return generate(route, request, entry);
    case Endpoint::kGenerateStream:
      return generate_stream(route, request, entry);
    case Endpoint::kMetrics:
      return page(callbacks_.metrics, "text/plain; version=0.0.4; charset=utf-8");
    case Endpoint::kStatus:
      return page(callbacks_.status, "application/json");
    case Endpoint::kStatusPage:
      return page(callbacks_.status_page, "text/html; charset=utf-8");
  }
  throw std::logic_error("an endpoint without an answer");
}

HttpResponse HttpHandlers::server_metadata() const {
  return json_response({{"name", "kvalign"},
                        {"version", KVALIGN_VERSION},
                        {"extensions", {"binary_tensor_data", "generate"}},
                        {"models", service_.models()}});
}

HttpResponse HttpHandlers::readiness(bool ready, const char* name) const {
  HttpResponse response = json_response({{name, ready}}, ready ? 200 : 503);
  if (!ready) {
    response.headers.emplace_back("Retry-After", std::to_string(options_.retry_after_seconds));
  }
  return response;
}

HttpResponse HttpHandlers::refuse(const ServeRefusal& refusal) const {
  HttpResponse response = {.status = refusal.status, .body = write_error(refusal.what())};
  if (refusal.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (refusal.status == 405) response.headers.emplace_back("Allow", "GET, HEAD, POST");
  if (refusal.status == 503) {
    response.headers.emplace_back("Retry-After", std::to_string(options_.retry_after_seconds));
  }
  return response;
}

}  // namespace kvalign
