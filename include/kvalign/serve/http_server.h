// An HTTP/1.1 server of the Open Inference Protocol on an InferenceService:
//
//   GET  /v2                                 what the server is and can
//   GET  /v2/health/live  /v2/health/ready   200, or 503 while it loads or drains
//   GET  /v2/models/M[/versions/V][/ready]   metadata, readiness
//   POST /v2/models/M[/versions/V]/infer             tensors -> the receiver's cache
//   POST /v2/models/M[/versions/V]/generate          a packet -> text that the receiver writes
//   POST /v2/models/M[/versions/V]/generate_stream   the same, piece by piece (server-sent events)
//   GET  /metrics  /status  /   what callbacks give: Prometheus text, JSON, a status page
//
// Where the guard refuses a cache (`fallback_reprefill`) or nothing can use it (`unsupported`), the
// request has still been answered: 200 with no outputs, outcome and reason in the parameters, since
// the protocol's clients raise every other status as a failure of the server. What is not answered
// has the protocol's {"error": text}: 400 (the request), 401, 404, 405, 408 (too slow), 411, 413,
// 414, 415, 417, 431, 500, 503 with Retry-After (try again), 504 (deadline).
//
// A token, where one is set, is asked for everywhere but for health, also for the last line's: they
// tell of the traffic of others.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "kvalign/format/export.h"
#include "kvalign/monitor/request_record.h"
#include "kvalign/serve/inference_service.h"
#include "kvalign/serve/serve_options.h"

namespace kvalign {

/// One line of an access log, for every request.
struct AccessLogEntry {
  std::string client = {};  ///< address
  std::string verb = {};    ///< GET, HEAD, POST; empty where the request could not be read
  std::string target = {};
  std::string id = {};     ///< of the request's body
  std::string error = {};  ///< what the client was told, and of a 500 what it was not told
  double seconds = 0;      ///< from its first byte to the last of the answer
  RequestRecord record = {};
};

/// Called from many threads at once; none may throw. Empty ones are not called.
struct HttpCallbacks {
  /// One of each request to a model, and of each that was no HTTP or none of a path: the method of
  /// those is "none". `model` is one that is served, or empty: strangers make no labels. Status
  /// 499, reason "client_gone": the client left within a stream. Phases here: "read", "write".
  std::function<void(const RequestRecord&)> on_request = {};
  std::function<void(const AccessLogEntry&)> on_access = {};
  /// What it returns is held while a request to a model is being answered.
  std::function<std::shared_ptr<void>()> in_flight = {};
  std::function<std::string()> metrics = {};
  std::function<std::string()> status = {};
  std::function<std::string()> status_page = {};
};

class KVALIGN_API HttpServer {
 public:
  /// Listens, and answers from then on. `service` must outlive the server. Throws
  /// std::invalid_argument for options that contradict each other, std::runtime_error that names
  /// the address or the file for those that do not work.
  HttpServer(const ServeOptions& options, InferenceService& service, HttpCallbacks callbacks);
  ~HttpServer();  ///< as drain() without a time
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;         ///< also where the option is 0
  std::string url() const;  ///< "http://127.0.0.1:8000"

  /// Not ready from now on, takes no new connections, answers what has been sent, and returns when
  /// all connections have ended. After `limit` the rest is cut off; false then. Once only.
  bool drain(std::chrono::duration<double> limit);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace kvalign
