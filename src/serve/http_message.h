// A request as the handlers see it, and what they answer. Private to serve/.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http_head.h"
#include "http_transport.h"
#include "kvalign/monitor/request_record.h"

namespace kvalign {

struct HttpRequest {
  HttpHead head = {};
  std::string body = {};
  Deadline deadline = {};  ///< for the answer
  std::function<bool()> client_is_gone = {};
  std::shared_ptr<void> in_flight = {};  ///< ends with the request
};

/// Writes a part of a body; false where nobody reads any more.
using PartSink = std::function<bool(std::string_view)>;

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  /// Set instead of `body` where the answer comes in parts; fills what it learns of the request.
  std::function<void(const PartSink&, RequestRecord&)> stream = {};
};

}  // namespace kvalign
