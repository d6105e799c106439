// Comparison of tokens. See the header.
#include "bearer_token.h"

#include <openssl/crypto.h>

#include <stdexcept>

#include "kvalign/core/files.h"
#include "kvalign/core/sha256.h"
#include "kvalign/serve/inference_service.h"

namespace kvalign {
namespace {

constexpr std::string_view kScheme = "Bearer ";
constexpr size_t kFewestCharacters = 16;

}  // namespace

BearerToken::BearerToken(const std::string& path) {
  std::string token = read_file(path);
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  if (token.size() < kFewestCharacters || token.find_first_of(" \t\r\n") != std::string::npos) {
    throw std::runtime_error("serve.token_file " + path + ": expected one line with a token of " +
                             std::to_string(kFewestCharacters) +
                             " characters or more and no blanks; `openssl rand -hex 32` makes one");
  }
  digest_ = sha256_hex(token);
}

void BearerToken::check(const HttpHead& head) const {
  const std::string given = head.header("authorization").value_or("");
  const bool has_scheme = given.starts_with(kScheme);
  // Digests are of one length, and tell nothing of the token where the comparison ended.
  const std::string digest = sha256_hex(has_scheme ? given.substr(kScheme.size()) : "");
  if (!has_scheme || CRYPTO_memcmp(digest.data(), digest_.data(), digest_.size()) != 0) {
    throw ServeRefusal(401, "unauthorised", "HTTP: expected Authorization: Bearer and the token");
  }
}

}  // namespace kvalign
