// A client that sends any bytes, good or not, and reads what comes back: what no HTTP library does.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kvalign::testing {

struct RawResponse {
  int status = 0;
  std::string head = {};
  std::string body = {};  ///< without the framing of chunks
  std::string header(const std::string& name) const {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class RawClient {
 public:
  explicit RawClient(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      ::close(socket_);
      throw std::runtime_error("the server refuses connections");
    }
  }
  ~RawClient() { ::close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // A server that has closed already is met when its answer is read.
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }

  void end_sending() { ::shutdown(socket_, SHUT_WR); }

  // The next response, none where the connection ends before it or nothing comes for `seconds`.
  std::optional<RawResponse> receive(double seconds = 20) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (true) {
      if (std::optional<RawResponse> response = parse()) return response;
      if (!fill(until)) return std::nullopt;
    }
  }

  // Whether the server ends the connection, with nothing more to read.
  bool is_closed(double seconds = 5) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (fill(until)) {
    }
    return ended_ && buffer_.empty();
  }

  std::optional<RawResponse> ask(std::string_view request) {
    send(request);
    return receive();
  }

 private:
  template <class Until>
  bool fill(Until until) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd wanted = {socket_, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&wanted, 1, static_cast<int>(left.count())) <= 0) return false;
    char bytes[65536];
    const ssize_t got = ::recv(socket_, bytes, sizeof bytes, 0);
    ended_ = got <= 0;
    if (!ended_) buffer_.append(bytes, static_cast<size_t>(got));
    return !ended_;
  }

  std::optional<RawResponse> parse() {
    const size_t head_end = buffer_.find("\r\n\r\n");
    if (head_end == std::string::npos) return std::nullopt;
    RawResponse response = {.status = std::atoi(buffer_.c_str() + 9),
                            .head = buffer_.substr(0, head_end + 4)};
    size_t at = head_end + 4;
    if (response.header("Transfer-Encoding") == "chunked") {
      while (true) {
        const size_t line = buffer_.find("\r\n", at);
        if (line == std::string::npos) return std::nullopt;
        const size_t size = std::strtoul(buffer_.c_str() + at, nullptr, 16);
        if (buffer_.size() < line + 2 + size + 2) return std::nullopt;
        response.body += buffer_.substr(line + 2, size);
        at = line + 2 + size + 2;
        if (size == 0) break;
      }
    } else {
      const size_t size = std::strtoul(response.header("Content-Length").c_str(), nullptr, 10);
      if (buffer_.size() < at + size) return std::nullopt;
      response.body = buffer_.substr(at, size);
      at += size;
    }
    buffer_.erase(0, at);
    return response;
  }

  int socket_;
  bool ended_ = false;
  std::string buffer_;
};

inline std::string get(const std::string& path, const std::string& more = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: test\r\n" + more + "\r\n";
}

inline std::string post(const std::string& path, const std::string& body,
                        const std::string& more = "") {
  return "POST " + path +
         " HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         more + "\r\n" + body;
}

}  // namespace kvalign::testing
