// Heads of requests, read strictly: what two readers could read in two ways is refused, so that a
// proxy and this server never differ on where a request ends (RFC 9112, sections 2.2, 5 and 6).
// Private to serve/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvalign {

struct HttpHead {
  std::string method = {};                                        ///< GET, HEAD or POST
  std::string target = {};                                        ///< path and query
  std::vector<std::pair<std::string, std::string>> headers = {};  ///< names in lower case
  bool keeps_alive = true;
  bool expects_continue = false;
  bool is_chunked = false;
  int64_t content_length = 0;

  /// The value of the only header of that name; none where there is none or more than one.
  std::optional<std::string> header(std::string_view name) const;
};

constexpr size_t kMostHeadBytes = 16384;
constexpr size_t kMostHeaders = 64;
constexpr size_t kMostTargetBytes = 2048;

/// Reads a head that ends with its empty line. Throws ServeRefusal (400, 405, 411, 414, 415, 417,
/// 431) that says what is wrong with which line.
HttpHead parse_head(std::string_view bytes);

/// Reads a header line without its end: a name in lower case and a value. Throws ServeRefusal.
std::pair<std::string, std::string> parse_header(std::string_view line);

/// Refuses bytes that no head has, before it has come whole: control characters, a line that ends
/// in LF alone. `from`: where the bytes begin that were not looked at yet.
void check_head_bytes(std::string_view bytes, size_t from);

}  // namespace kvalign
