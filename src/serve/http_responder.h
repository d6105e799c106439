// Answers on a connection, by cpp-httplib: it reads the head that was checked before and writes the
// response, whole or in chunks. It never reads from the connection itself: version 0.11.4 knows no
// limit for a head as a whole or a chunked body, takes bodies of two lengths, and matches routes
// and ranges with std::regex, which recurses by the byte. Private to serve/.
#pragma once

#include <memory>

#include "http_message.h"
#include "kvalign/serve/serve_options.h"

namespace kvalign {

class HttpResponder {
 public:
  HttpResponder(Transport& transport, const ServeOptions& options);
  ~HttpResponder();

  /// Writes `response` to a request of `method`. `record` gets bytes_sent, and what a stream has to
  /// say. False where it was not written whole, after which the connection cannot go on.
  bool respond(const std::string& method, HttpResponse response, bool close, RequestRecord& record);

 private:
  class Server;
  std::unique_ptr<Server> server_;
};

}  // namespace kvalign
