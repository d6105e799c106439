// The token that requests must carry. Private to serve/.
#pragma once

#include <string>

#include "http_head.h"

namespace kvalign {

class BearerToken {
 public:
  /// Reads the token from a file, without the line's end. Throws std::runtime_error where there is
  /// none, or one shorter than 16 characters.
  explicit BearerToken(const std::string& path);

  /// Throws ServeRefusal (401) where `Authorization: Bearer TOKEN` is not there. Takes as long for
  /// a token that is nearly right as for any other.
  void check(const HttpHead& head) const;

 private:
  std::string digest_;
};

}  // namespace kvalign
