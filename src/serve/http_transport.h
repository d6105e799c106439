// One accepted connection: bytes in and out, each before a deadline, as they are or under TLS.
// Private to serve/.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "http_tls.h"

namespace kvalign {

using Deadline = std::chrono::steady_clock::time_point;

/// That long from now.
Deadline after_seconds(double seconds);

struct TransportError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The peer is gone, or what it sent is no TLS: nobody is left to answer.
struct ConnectionLost : TransportError {
  using TransportError::TransportError;
};

/// The peer was too slow.
struct TransportTimeout : TransportError {
  using TransportError::TransportError;
};

class Transport {
 public:
  /// Owns `socket`, which is set to not block. `tls` may be null.
  Transport(int socket, const TlsContext* tls);
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  /// The TLS handshake, where there is TLS. Throws ConnectionLost, TransportTimeout.
  void start(Deadline deadline);

  /// Up to `room` bytes, at least one; 0 where the peer has sent its last. Throws as start does.
  size_t read(char* to, size_t room, Deadline deadline);
  void write(std::string_view bytes, Deadline deadline);

  enum class Arrival { kData, kEvent, kNothing };
  /// Waits for bytes, or the peer's end, or for `event` (a descriptor) to become readable.
  Arrival wait(Deadline deadline, int event);

  /// Whether the peer has closed, or closed its sending half.
  bool peer_is_gone() const;

  /// Says that nothing follows, and lets the peer read what was sent: a socket that is closed with
  /// unread input resets the connection, and the answer may be lost with it.
  void finish(Deadline deadline);

  /// Ends both directions, from any thread while this lives: whoever reads or writes fails.
  void cut_off();

  /// The peer's address, for logs.
  std::string peer() const;

 private:
  void poll_for(short events, Deadline deadline) const;
  // What of a TLS call comes next: waits, or says that it is over (false), or throws.
  bool go_on(int result, Deadline deadline) const;

  int socket_;
  TlsSession tls_;
};

}  // namespace kvalign
