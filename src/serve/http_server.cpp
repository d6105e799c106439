// Threads, sockets and handlers of a server, put together. See the header.
#include "kvalign/serve/http_server.h"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "http_connection.h"
#include "http_listener.h"

namespace kvalign {
namespace {

std::unique_ptr<TlsContext> make_tls(const ServeOptions& options) {
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    throw std::invalid_argument(
        "serve: expected tls_certificate and tls_key, got one without the other");
  }
  if (options.tls_certificate.empty()) return nullptr;
  return std::make_unique<TlsContext>(options.tls_certificate, options.tls_key);
}

std::string refusal_text(const ServeOptions& options) {
  const std::string body =
      write_error("HTTP: all connections are taken (serve.max_connections); try again");
  return "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json"
         "\r\nRetry-After: " +
         std::to_string(options.retry_after_seconds) +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Threads made under it get no signals: those are the program's to handle, in a thread of its own.
class NoSignals {
 public:
  NoSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

class HttpServer::Implementation {
 public:
  Implementation(const ServeOptions& options, InferenceService& service, HttpCallbacks callbacks)
      : options_(options),
        callbacks_(std::move(callbacks)),
        handlers_(options_, service, callbacks_, is_draining_),
        tls_(make_tls(options_)),
        budget_(options_.max_buffered_bytes),
        listener_(options_.host, static_cast<int>(options_.port)),
        workers_(static_cast<size_t>(options_.max_connections)) {
    const NoSignals no_signals;
    accepting_ = std::thread([this] {
      listener_.run(
          drain_event_.descriptor(), [this](int socket) { return take(socket); },
          tls_ ? "" : refusal_text(options_));
    });
  }

  ~Implementation() { drain(std::chrono::seconds(0)); }

  int port() const { return listener_.port(); }
  std::string url() const {
    const bool is_ipv6 = options_.host.find(':') != std::string::npos;
    return std::string(tls_ ? "https://" : "http://") +
           (is_ipv6 ? "[" + options_.host + "]" : options_.host) + ":" + std::to_string(port());
  }

  bool drain(std::chrono::duration<double> limit) {
    if (!accepting_.joinable()) return true;
    is_draining_ = true;
    drain_event_.set();
    accepting_.join();
    if (workers_.wait_until_idle(limit)) return true;
    const std::lock_guard lock(mutex_);
    for (Transport* connection : connections_) connection->cut_off();
    return false;
  }

 private:
  bool take(int socket) {
    return workers_.try_run([this, socket] { serve(socket); });
  }

  void serve(int socket) try {
    Transport transport(socket, tls_.get());
    {
      const std::lock_guard lock(mutex_);
      connections_.insert(&transport);
    }
    const HttpShared shared = {options_, callbacks_,   handlers_,   budget_,
                               workers_, is_draining_, drain_event_};
    HttpConnection(transport, shared).run();
    const std::lock_guard lock(mutex_);
    connections_.erase(&transport);
  } catch (const std::runtime_error&) {
    // No TLS session, which wants memory: the socket has been closed.
  }

  const ServeOptions options_;
  const HttpCallbacks callbacks_;
  std::atomic<bool> is_draining_ = false;
  EventDescriptor drain_event_;
  HttpHandlers handlers_;
  std::unique_ptr<TlsContext> tls_;
  BodyBudget budget_;
  HttpListener listener_;
  std::mutex mutex_;
  std::set<Transport*> connections_;
  WorkerPool workers_;
  std::thread accepting_;
};

HttpServer::HttpServer(const ServeOptions& options, InferenceService& service,
                       HttpCallbacks callbacks)
    : implementation_(std::make_unique<Implementation>(options, service, std::move(callbacks))) {}

HttpServer::~HttpServer() = default;

int HttpServer::port() const {
  return implementation_->port();
}

std::string HttpServer::url() const {
  return implementation_->url();
}

bool HttpServer::drain(std::chrono::duration<double> limit) {
  return implementation_->drain(limit);
}

}  // namespace kvalign
