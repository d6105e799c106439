// What each endpoint answers. Private to serve/.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "bearer_token.h"
#include "http_message.h"
#include "http_routes.h"
#include "kvalign/serve/http_server.h"
#include "kvalign/serve/open_inference.h"

namespace kvalign {

class HttpHandlers {
 public:
  HttpHandlers(const ServeOptions& options, InferenceService& service,
               const HttpCallbacks& callbacks, const std::atomic<bool>& is_draining);

  /// What can be said before the body is read. Throws ServeRefusal (401, 404, 405); the record gets
  /// its method and model.
  Route admit(const HttpHead& head, RequestRecord& record) const;

  /// Throws ServeRefusal, and what the service throws. The entry gets its id, and its record what
  /// the service tells of the request; of a stream once that has ended.
  HttpResponse answer(const Route& route, HttpRequest& request, AccessLogEntry& entry) const;

  /// The answer to a request that is refused; 500 where `status` says so.
  HttpResponse refuse(const ServeRefusal& refusal) const;

 private:
  HttpResponse server_metadata() const;
  HttpResponse readiness(bool ready, const char* name) const;
  HttpResponse infer(const Route& route, HttpRequest& request, AccessLogEntry& entry) const;
  HttpResponse generate(const Route& route, HttpRequest& request, AccessLogEntry& entry) const;
  HttpResponse generate_stream(const Route& route, HttpRequest& request,
                               AccessLogEntry& entry) const;
  ServeRequest generate_request(const Route& route, HttpRequest& request,
                                AccessLogEntry& entry) const;

  const ServeOptions& options_;
  InferenceService& service_;
  const HttpCallbacks& callbacks_;
  const std::atomic<bool>& is_draining_;
  OpenInferenceLimits limits_;
  std::unique_ptr<BearerToken> token_;
};

}  // namespace kvalign
