// What a server may be told about its socket, its limits and who may ask. See http_server.h.
#pragma once

#include <cstdint>
#include <string>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// The recipe's `serve` section. Every limit is one that a stranger can reach.
struct KVALIGN_API ServeOptions {
  std::string host = "127.0.0.1";  ///< loopback unless told otherwise
  int64_t port = 8000;
  int64_t max_connections = 128;  ///< each has a thread while it lasts
  int64_t max_body_bytes = int64_t{64} << 20;
  int64_t max_buffered_bytes = int64_t{1} << 30;
  int64_t max_json_bytes = int64_t{4} << 20;
  double head_seconds = 5;
  double body_seconds = 30;
  double write_seconds = 30;
  double request_seconds = 60;
  double keep_alive_seconds = 30;
  int64_t keep_alive_requests = 100000;
  int64_t retry_after_seconds = 1;
  double drain_seconds = 30;
  std::string token_file = {};
  std::string tls_certificate = {}, tls_key = {};

  void describe(OptionVisitor& visitor);
};

}  // namespace kvalign
