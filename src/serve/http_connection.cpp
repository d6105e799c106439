// From a request's first byte to the last of its answer. See the header.
#include "http_connection.h"

#include <chrono>
#include <utility>

namespace kvalign {
namespace {

using Clock = std::chrono::steady_clock;

// For a request that was sent just before the client could know that the server stops.
constexpr double kLastRequestSeconds = 1;
// For a client to read its answer before the connection is closed.
constexpr double kFinishSeconds = 1;

// What monitors call a request whose client did not wait for the answer (as nginx does).
constexpr int kClientGone = 499;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

HttpConnection::HttpConnection(Transport& transport, const HttpShared& shared)
    : transport_(transport),
      shared_(shared),
      reader_(transport, shared.options),
      responder_(transport, shared.options),
      client_(transport.peer()) {}

void HttpConnection::run() {
  try {
    transport_.start(after_seconds(shared_.options.head_seconds));
    while (wait_for_request() && serve_one()) {
    }
  } catch (const std::exception&) {
    // Lost, no TLS, or no memory: nobody is left to answer, or nothing to answer with.
  }
}

bool HttpConnection::wait_for_request() {
  if (reader_.has_bytes()) return true;
  const ServeOptions& options = shared_.options;
  const double seconds = served_ == 0 ? options.head_seconds : options.keep_alive_seconds;
  auto arrival = transport_.wait(after_seconds(seconds), shared_.drain_event.descriptor());
  if (arrival == Transport::Arrival::kEvent) {
    constexpr int kNoEvent = -1;
    arrival = transport_.wait(after_seconds(kLastRequestSeconds), kNoEvent);
  }
  return arrival == Transport::Arrival::kData && reader_.begin();
}

bool HttpConnection::serve_one() {
  const Clock::time_point start = Clock::now();
  HttpRequest request;
  AccessLogEntry entry;
  entry.client = client_;
  entry.record.method = "none";
  ++served_;
  HttpResponse response = answer(request, entry);
  entry.record.status = response.status;
  const bool close = must_close(request.head);
  const Clock::time_point answered = Clock::now();
  const bool is_head = request.head.method == "HEAD";
  const bool written =
      responder_.respond(is_head ? "HEAD" : "GET", std::move(response), close, entry.record);
  entry.record.phase_seconds["write"] = seconds_since(answered);
  entry.seconds = seconds_since(start);
  tell(entry);
  if (close) transport_.finish(after_seconds(kFinishSeconds));
  return written && !close;
}

HttpResponse HttpConnection::answer(HttpRequest& request, AccessLogEntry& entry) {
  BodyBudget::Share share(shared_.budget);  // given back before the client has its answer
  const Clock::time_point start = Clock::now();
  const HttpHandlers& handlers = shared_.handlers;
  RequestRecord& record = entry.record;
  is_in_step_ = false;
  try {
    request.head = reader_.read_head();
    entry.verb = request.head.method;
    entry.target = request.head.target;
    is_in_step_ = !request.head.is_chunked && request.head.content_length == 0;
    const Route route = handlers.admit(request.head, record);
    if (shared_.callbacks.in_flight && !record.method.empty()) {
      request.in_flight = shared_.callbacks.in_flight();
    }
    request.memory = &share;
    request.body = reader_.read_body(request.head, share);
    is_in_step_ = true;
    record.bytes_received = static_cast<int64_t>(request.body.size());
    record.phase_seconds["read"] = seconds_since(start);
    request.deadline = after_seconds(shared_.options.request_seconds);
    request.client_is_gone = [this] { return transport_.peer_is_gone(); };
    return handlers.answer(route, request, entry);
  } catch (const ServeRefusal& refusal) {
    entry.error = refusal.what();
    record.reason = refusal.label;
    return handlers.refuse(refusal);
  } catch (const TransportError& error) {
    entry.error = error.what();
    record.reason = "client_gone";
    is_in_step_ = false;
    return {.status = kClientGone};
  } catch (const std::exception& error) {
    entry.error = error.what();
    record.reason = "internal";
    return handlers.refuse({500, "internal", "internal error; the server's log says more"});
  }
}

bool HttpConnection::must_close(const HttpHead& head) const {
  return !is_in_step_ || !head.keeps_alive || served_ >= shared_.options.keep_alive_requests ||
         shared_.is_draining || shared_.workers.is_full();
}

void HttpConnection::tell(const AccessLogEntry& entry) const {
  if (shared_.callbacks.on_access) shared_.callbacks.on_access(entry);
  if (shared_.callbacks.on_request && !entry.record.method.empty()) {
    shared_.callbacks.on_request(entry.record);
  }
}

}  // namespace kvalign
