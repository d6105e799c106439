// The socket that listens, and the loop that accepts. Private to serve/.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <string>

namespace kvalign {

class HttpListener {
 public:
  /// Throws std::runtime_error that names the address and the system's reason.
  HttpListener(const std::string& host, int port);
  ~HttpListener();
  HttpListener(const HttpListener&) = delete;
  HttpListener& operator=(const HttpListener&) = delete;

  int port() const { return port_; }

  /// Gives each connection's socket to `take`, which owns it from then on, until `stop` (a
  /// descriptor) is readable. Where `take` returns false, it has not taken the socket: it is sent
  /// `refusal` and closed once the peer has read it. Closes the listening socket when it returns;
  /// connections that were made before that have been accepted.
  void run(int stop, const std::function<bool(int)>& take, const std::string& refusal);

 private:
  // A refused connection, open until its peer has read why.
  struct Refused {
    int socket = -1;
    std::chrono::steady_clock::time_point until = {};
  };

  void accept_all(const std::function<bool(int)>& take, const std::string& refusal);
  void refuse(int socket, const std::string& refusal);
  void sweep(bool all);
  void close();

  int socket_ = -1;
  int port_ = 0;
  std::deque<Refused> refused_;
};

}  // namespace kvalign
