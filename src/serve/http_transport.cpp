// Reading and writing before a deadline. See the header.
#include "http_transport.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace kvalign {
namespace {

// Rounded up: poll() that returns a little early would spin.
int milliseconds_until(Deadline deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 1 << 30));
}

bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK;
}

[[noreturn]] void lost() {
  throw ConnectionLost(std::error_code(errno, std::generic_category()).message());
}

}  // namespace

Deadline after_seconds(double seconds) {
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             std::chrono::duration<double>(std::min(seconds, 1e9)));
}

Transport::Transport(int socket, const TlsContext* tls) : socket_(socket) {
  fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
  const int on = 1;  // answers are small, and each is written whole
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (tls == nullptr) return;
  try {
    tls_ = tls->session(socket);
  } catch (...) {
    ::close(socket);
    throw;
  }
}

Transport::~Transport() {
  tls_.reset();
  ::close(socket_);
}

void Transport::poll_for(short events, Deadline deadline) const {
  pollfd wanted = {socket_, events, 0};
  while (true) {
    const int ready = ::poll(&wanted, 1, milliseconds_until(deadline));
    if (ready > 0) return;
    if (ready == 0) throw TransportTimeout("the peer was too slow");
    if (errno != EINTR) lost();
  }
}

bool Transport::go_on(int result, Deadline deadline) const {
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      poll_for(POLLIN, deadline);
      return true;
    case SSL_ERROR_WANT_WRITE:
      poll_for(POLLOUT, deadline);
      return true;
    case SSL_ERROR_ZERO_RETURN:
      return false;
    default:
      ERR_clear_error();
      throw ConnectionLost("TLS failed");
  }
}

void Transport::start(Deadline deadline) {
  if (!tls_) return;
  while (true) {
    ERR_clear_error();
    const int result = SSL_do_handshake(tls_.get());
    if (result == 1) return;
    if (!go_on(result, deadline)) throw ConnectionLost("the peer ended the TLS handshake");
  }
}

size_t Transport::read(char* to, size_t room, Deadline deadline) {
  while (tls_) {
    size_t got = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(tls_.get(), to, room, &got);
    if (result == 1) return got;
    if (!go_on(result, deadline)) return 0;
  }
  while (true) {
    const ssize_t got = ::recv(socket_, to, room, 0);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno == EINTR) continue;
    if (!would_block()) lost();
    poll_for(POLLIN, deadline);
  }
}

void Transport::write(std::string_view bytes, Deadline deadline) {
  while (tls_ && !bytes.empty()) {
    size_t sent = 0;
    ERR_clear_error();
    const int result = SSL_write_ex(tls_.get(), bytes.data(), bytes.size(), &sent);
    if (result == 1) {
      bytes.remove_prefix(sent);
    } else if (!go_on(result, deadline)) {
      throw ConnectionLost("the peer ended TLS");
    }
  }
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (would_block()) {
      poll_for(POLLOUT, deadline);
    } else if (errno != EINTR) {
      lost();
    }
  }
}

Transport::Arrival Transport::wait(Deadline deadline, int event) {
  if (tls_ && SSL_pending(tls_.get()) > 0) return Arrival::kData;
  pollfd wanted[] = {{socket_, POLLIN, 0}, {event, POLLIN, 0}};
  while (true) {
    const int ready = ::poll(wanted, 2, milliseconds_until(deadline));
    if (ready < 0 && errno != EINTR) lost();
    if (ready == 0) return Arrival::kNothing;
    if (ready > 0) return wanted[0].revents != 0 ? Arrival::kData : Arrival::kEvent;
  }
}

bool Transport::peer_is_gone() const {
  pollfd wanted = {socket_, POLLRDHUP, 0};
  return ::poll(&wanted, 1, 0) > 0 && (wanted.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void Transport::finish(Deadline deadline) {
  try {
    if (tls_) SSL_shutdown(tls_.get());
    ::shutdown(socket_, SHUT_WR);
    char unread[4096];
    while (true) {
      const ssize_t got = ::recv(socket_, unread, sizeof unread, 0);
      if (got == 0 || (got < 0 && !would_block() && errno != EINTR)) return;
      if (std::chrono::steady_clock::now() > deadline) return;
      if (got < 0) poll_for(POLLIN, deadline);
    }
  } catch (const TransportError&) {
    // The peer had its time, or is gone; either way the connection ends here.
  }
}

void Transport::cut_off() {
  ::shutdown(socket_, SHUT_RDWR);
}

std::string Transport::peer() const {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  char text[INET6_ADDRSTRLEN] = "";
  if (::getpeername(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  if (address.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(&address)->sin_addr, text, sizeof text);
  } else if (address.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6*>(&address)->sin6_addr, text, sizeof text);
  }
  return text;
}

}  // namespace kvalign
