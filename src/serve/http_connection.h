// The requests of one connection, one after the other. Private to serve/.
#pragma once

#include "body_budget.h"
#include "event_descriptor.h"
#include "http_handlers.h"
#include "http_reader.h"
#include "http_responder.h"
#include "http_transport.h"
#include "worker_pool.h"

namespace kvalign {

/// What all connections of a server share; outlives them.
struct HttpShared {
  const ServeOptions& options;
  const HttpCallbacks& callbacks;
  const HttpHandlers& handlers;
  BodyBudget& budget;
  const WorkerPool& workers;
  const std::atomic<bool>& is_draining;
  const EventDescriptor& drain_event;
};

class HttpConnection {
 public:
  HttpConnection(Transport& transport, const HttpShared& shared);

  /// Answers requests until the peer or the server ends the connection. Does not throw.
  void run();

 private:
  bool wait_for_request();
  bool serve_one();
  HttpResponse answer(HttpRequest& request, AccessLogEntry& entry);
  bool must_close(const HttpHead& head) const;
  void tell(const AccessLogEntry& entry) const;

  Transport& transport_;
  const HttpShared& shared_;
  HttpReader reader_;
  HttpResponder responder_;
  std::string client_;
  int64_t served_ = 0;
  bool is_in_step_ = false;  // the next byte is the next request's first
};

}  // namespace kvalign
