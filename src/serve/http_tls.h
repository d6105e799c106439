// TLS of a server by OpenSSL: 1.2 and later, with the certificate and key of two PEM files.
// Private to serve/.
#pragma once

#include <memory>
#include <string>

struct ssl_ctx_st;
struct ssl_st;

namespace kvalign {

struct FreeTlsContext {
  void operator()(ssl_ctx_st* context) const;
};
struct FreeTlsSession {
  void operator()(ssl_st* session) const;
};
using TlsSession = std::unique_ptr<ssl_st, FreeTlsSession>;

class TlsContext {
 public:
  /// Throws std::runtime_error that names the file and OpenSSL's reason.
  TlsContext(const std::string& certificate, const std::string& key);

  /// The server's side of a connection over `socket`.
  TlsSession session(int socket) const;

 private:
  std::unique_ptr<ssl_ctx_st, FreeTlsContext> context_;
};

}  // namespace kvalign
