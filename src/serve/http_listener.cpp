// Accepting connections, and refusing those that are too many. See the header.
#include "http_listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <system_error>

namespace kvalign {
namespace {

constexpr int kBacklog = 512;
constexpr size_t kMostRefused = 256;
constexpr auto kRefusedTime = std::chrono::seconds(1);
constexpr int kSweepMilliseconds = 50;

std::string reason() {
  return std::error_code(errno, std::generic_category()).message();
}

int listen_on(const addrinfo& address) {
  const int socket =
      ::socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) return -1;
  const int on = 1;  // a restart need not wait for the connections of the last run
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket, address.ai_addr, address.ai_addrlen) == 0 && ::listen(socket, kBacklog) == 0) {
    return socket;
  }
  const int error = errno;
  ::close(socket);
  errno = error;
  return -1;
}

int port_of(int socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

// Whether the peer has ended, or has no more time.
bool is_over(int socket, std::chrono::steady_clock::time_point until) {
  char unread[4096];
  while (true) {
    const ssize_t got = ::recv(socket, unread, sizeof unread, MSG_DONTWAIT);
    if (got == 0) return true;
    if (got < 0) break;
    if (std::chrono::steady_clock::now() > until) return true;
  }
  return errno != EAGAIN || std::chrono::steady_clock::now() > until;
}

}  // namespace

HttpListener::HttpListener(const std::string& host, int port) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string where = "serve: cannot listen on " + host + ":" + std::to_string(port) + ": ";
  const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) throw std::runtime_error(where + gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, freeaddrinfo);
  for (const addrinfo* address = found; address != nullptr && socket_ < 0;
       address = address->ai_next) {
    socket_ = listen_on(*address);
  }
  if (socket_ < 0) throw std::runtime_error(where + reason());
  port_ = port_of(socket_);
}

HttpListener::~HttpListener() {
  close();
}

void HttpListener::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

void HttpListener::run(int stop, const std::function<bool(int)>& take, const std::string& refusal) {
  pollfd wanted[] = {{socket_, POLLIN, 0}, {stop, POLLIN, 0}};
  while (wanted[1].revents == 0) {
    ::poll(wanted, 2, refused_.empty() ? -1 : kSweepMilliseconds);
    accept_all(take, refusal);
    sweep(false);
  }
  close();
  sweep(true);
}

void HttpListener::accept_all(const std::function<bool(int)>& take, const std::string& refusal) {
  while (true) {
    const int socket = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket >= 0) {
      if (!take(socket)) refuse(socket, refusal);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      ::poll(nullptr, 0, kSweepMilliseconds);  // others must end first; the peer waits in the queue
      return;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    }  // else this connection was over before it was accepted: on to the next
  }
}

void HttpListener::refuse(int socket, const std::string& refusal) {
  ::send(socket, refusal.data(), refusal.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(socket, SHUT_WR);
  if (refused_.size() == kMostRefused) {
    ::close(refused_.front().socket);
    refused_.pop_front();
  }
  refused_.push_back({socket, std::chrono::steady_clock::now() + kRefusedTime});
}

void HttpListener::sweep(bool all) {
  std::erase_if(refused_, [all](const Refused& refused) {
    if (!all && !is_over(refused.socket, refused.until)) return false;
    ::close(refused.socket);
    return true;
  });
}

}  // namespace kvalign
