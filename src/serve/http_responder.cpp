// cpp-httplib between a request in memory and a connection. See the header.
#include "http_responder.h"

#include <httplib.h>

#include <algorithm>
#include <cstring>

namespace kvalign {
namespace {

// What httplib reads is the head; what it writes goes to the connection.
class MemoryStream : public httplib::Stream {
 public:
  MemoryStream(std::string head, Transport& transport, double write_seconds)
      : head_(std::move(head)), transport_(transport), write_seconds_(write_seconds) {
    renew_deadline();
  }

  void renew_deadline() { deadline_ = after_seconds(write_seconds_); }
  int64_t sent() const { return sent_; }

  bool is_readable() const override { return read_ < head_.size(); }
  bool is_writable() const override { return !failed_; }

  ssize_t read(char* to, size_t room) override {
    const size_t size = std::min(room, head_.size() - read_);
    std::memcpy(to, head_.data() + read_, size);
    read_ += size;
    return static_cast<ssize_t>(size);
  }

  ssize_t write(const char* from, size_t size) override {
    try {
      transport_.write({from, size}, deadline_);
    } catch (const TransportError&) {  // lost, or too slow; httplib knows one way to fail
      failed_ = true;
      return -1;
    }
    sent_ += static_cast<int64_t>(size);
    return static_cast<ssize_t>(size);
  }

  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return INVALID_SOCKET; }

 private:
  std::string head_;
  size_t read_ = 0;
  Transport& transport_;
  double write_seconds_;
  Deadline deadline_ = {};
  bool failed_ = false;
  int64_t sent_ = 0;
};

}  // namespace

class HttpResponder::Server : private httplib::Server {
 public:
  Server(Transport& transport, const ServeOptions& options)
      : transport_(transport), options_(options) {
    svr_sock_ = 0;  // it writes streams only while it believes to listen
    set_keep_alive_max_count(static_cast<size_t>(options.keep_alive_requests));
    set_keep_alive_timeout(static_cast<time_t>(options.keep_alive_seconds));
    set_pre_routing_handler([this](const httplib::Request&, httplib::Response& response) {
      fill(response);
      return HandlerResponse::Handled;
    });
  }

  bool respond(const std::string& method, HttpResponse response, bool close,
               RequestRecord& record) {
    MemoryStream stream(method + " / HTTP/1.1\r\n\r\n", transport_, options_.write_seconds);
    response_ = std::move(response);
    record_ = &record;
    stream_ = &stream;
    bool ignored = false;
    const bool written = process_request(stream, close, ignored, nullptr);
    response_ = {};  // ends what streams hold, a generation whose client has gone
    record.bytes_sent = stream.sent();
    return written && stream.is_writable();
  }

 private:
  void fill(httplib::Response& to) {
    to.status = response_.status;
    for (const auto& [name, value] : response_.headers) to.set_header(name, value);
    to.set_header("Cache-Control", "no-store");
    to.set_header("X-Content-Type-Options", "nosniff");
    if (!response_.stream) {
      to.body = std::move(response_.body);  // set_content() would copy it
      to.set_header("Content-Type", response_.content_type);
      return;
    }
    to.set_chunked_content_provider(
        response_.content_type, [this](size_t, httplib::DataSink& sink) {
          bool whole = true;
          response_.stream(
              [&](std::string_view part) {
                stream_->renew_deadline();
                whole = !transport_.peer_is_gone() && sink.write(part.data(), part.size());
                return whole;
              },
              *record_);
          if (whole) sink.done();
          return whole;
        });
  }

  Transport& transport_;
  const ServeOptions& options_;
  HttpResponse response_;
  RequestRecord* record_ = nullptr;
  MemoryStream* stream_ = nullptr;
};

HttpResponder::HttpResponder(Transport& transport, const ServeOptions& options)
    : server_(std::make_unique<Server>(transport, options)) {}

HttpResponder::~HttpResponder() = default;

bool HttpResponder::respond(const std::string& method, HttpResponse response, bool close,
                            RequestRecord& record) {
  return server_->respond(method, std::move(response), close, record);
}

}  // namespace kvalign
