// SHA-256 through OpenSSL's EVP interface.
#include "kvalign/core/sha256.h"

#include <openssl/evp.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

namespace kvalign {
namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    require(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }

  void update(const void* bytes, size_t size) {
    require(EVP_DigestUpdate(context_.get(), bytes, size) == 1);
  }

  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    require(EVP_DigestFinal_ex(context_.get(), digest, &size) == 1);
    std::string text;
    for (unsigned int i = 0; i < size; ++i) {
      text += "0123456789abcdef"[digest[i] >> 4];
      text += "0123456789abcdef"[digest[i] & 15];
    }
    return text;
  }

 private:
  // Fails only where the process is out of memory or a policy of the system forbids SHA-256.
  static void require(bool success) {
    if (!success) throw std::runtime_error("SHA-256: OpenSSL refused to compute it");
  }

  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

}  // namespace

std::string sha256_hex(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return hash.hex();
}

std::string sha256_of_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (!file) throw std::runtime_error("cannot open '" + path + "': " + std::strerror(errno));
  Sha256 hash;
  std::vector<char> block(1 << 20);
  while (const size_t count = std::fread(block.data(), 1, block.size(), file.get())) {
    hash.update(block.data(), count);
  }
  if (std::ferror(file.get()) != 0) {
    throw std::runtime_error("cannot read '" + path + "': " + std::strerror(errno));
  }
  return hash.hex();
}

}  // namespace kvalign
