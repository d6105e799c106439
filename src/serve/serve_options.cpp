// What a recipe's `serve` section may say.
#include "kvalign/serve/serve_options.h"

namespace kvalign {
namespace {

void describe_socket(OptionVisitor& visitor, ServeOptions& options) {
  visitor.field({.name = "host",
                 .help = "address to listen on; any other than loopback is open to a network",
                 .required = true},
                options.host);
  visitor.field({"port", "port to listen on; 0: any that is free, which is printed", 0, 65535},
                options.port);
  visitor.field({"token_file",
                 "file with the bearer token that requests must carry, all but those for health; "
                 "empty: none is asked for"},
                options.token_file);
  visitor.field({"tls_certificate", "PEM file of the certificate chain; empty: no TLS"},
                options.tls_certificate);
  visitor.field({"tls_key", "PEM file of the certificate's key"}, options.tls_key);
}

void describe_sizes(OptionVisitor& visitor, ServeOptions& options) {
  visitor.field({"max_connections", "connections at once; further ones get a 503", 1, 10000},
                options.max_connections);
  visitor.field({"max_body_bytes", "body of a request", 1}, options.max_body_bytes);
  visitor.field({"max_buffered_bytes", "bodies of all requests together; beyond it a 503", 1},
                options.max_buffered_bytes);
  visitor.field({"max_json_bytes", "JSON of a request, without its binary tensors", 1},
                options.max_json_bytes);
}

void describe_times(OptionVisitor& visitor, ServeOptions& options) {
  const auto seconds = [&](const char* name, const char* help, double& value) {
    visitor.field({.name = name, .help = help, .minimum = 0, .exclusive_minimum = true}, value);
  };
  seconds("head_seconds", "time for a request's head as a whole, and for a TLS handshake",
          options.head_seconds);
  seconds("body_seconds", "time for a request's body as a whole", options.body_seconds);
  seconds("write_seconds", "time for a response as a whole, of a stream for each piece",
          options.write_seconds);
  seconds("request_seconds", "time from a request's body to its answer; later it is refused",
          options.request_seconds);
  seconds("keep_alive_seconds", "time that a connection may be idle", options.keep_alive_seconds);
  visitor.field({"keep_alive_requests", "requests of one connection", 1},
                options.keep_alive_requests);
  visitor.field({"retry_after_seconds", "what a 503 says in Retry-After", 1},
                options.retry_after_seconds);
  seconds("drain_seconds", "time for requests in flight once the server is told to stop",
          options.drain_seconds);
}

}  // namespace

void ServeOptions::describe(OptionVisitor& visitor) {
  describe_socket(visitor, *this);
  describe_sizes(visitor, *this);
  describe_times(visitor, *this);
}

}  // namespace kvalign
