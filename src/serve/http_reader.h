// Requests from a connection: head and body in memory, within limits of size and time, before
// anything is done with them. What comes after a body is kept: the next request of a pipeline.
// Private to serve/.
#pragma once

#include <string>

#include "body_budget.h"
#include "http_head.h"
#include "http_transport.h"
#include "kvalign/serve/serve_options.h"

namespace kvalign {

class HttpReader {
 public:
  HttpReader(Transport& transport, const ServeOptions& options)
      : transport_(transport), options_(options) {}

  /// Whether bytes of a request are here already.
  bool has_bytes() const { return !buffer_.empty(); }

  /// Reads a request's first bytes, which have arrived; false where it was the peer's end.
  bool begin();

  /// The next head; nothing of its body is taken. Throws ServeRefusal (400, 408, 431 ...).
  HttpHead read_head();

  /// The body of that head; answers `Expect: 100-continue` first. Throws ServeRefusal (400, 408,
  /// 413, 503).
  std::string read_body(const HttpHead& head, BodyBudget::Share& share);

 private:
  size_t append(Deadline deadline);
  // Appends what comes next; refuses where nothing does.
  void fill(Deadline deadline, const char* part);
  std::string take(size_t bytes);
  std::string take_line(Deadline deadline, size_t most, const char* part);
  std::string read_sized(size_t bytes, Deadline deadline);
  std::string read_chunked(Deadline deadline, BodyBudget::Share& share);
  size_t read_chunk_size(Deadline deadline);
  void read_trailers(Deadline deadline);

  Transport& transport_;
  const ServeOptions& options_;
  std::string buffer_;
};

}  // namespace kvalign
