// The grammar of request heads. See the header.
#include "http_head.h"

#include <algorithm>
#include <charconv>

#include "kvalign/serve/inference_service.h"

namespace kvalign {
namespace {

[[noreturn]] void refuse(int status, const std::string& text) {
  throw ServeRefusal(status, "malformed", "HTTP: " + text);
}

bool is_token(std::string_view text) {
  constexpr std::string_view kToken =
      "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  return !text.empty() && text.find_first_not_of(kToken) == std::string_view::npos;
}

bool is_visible(char byte) {
  return byte > ' ' && byte < '\x7f';
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& byte : result) {
    if (byte >= 'A' && byte <= 'Z') byte = static_cast<char>(byte - 'A' + 'a');
  }
  return result;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

void parse_request_line(std::string_view line, HttpHead& head) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    refuse(400, "expected a request line of a method, a target and HTTP/1.1");
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method)) refuse(400, "expected a request line that begins with a method");
  if (target.size() > kMostTargetBytes) {
    refuse(414, "expected a target of at most " + std::to_string(kMostTargetBytes) +
                    " bytes, got " + std::to_string(target.size()));
  }
  if (target.empty() || target[0] != '/' ||
      !std::all_of(target.begin(), target.end(), is_visible) ||
      target.find('#') != std::string_view::npos) {
    refuse(400, "expected a target that begins with / and is printable ASCII");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    refuse(400, "expected HTTP/1.1 or HTTP/1.0");
  }
  if (method != "GET" && method != "HEAD" && method != "POST") {
    refuse(405, "expected the method GET, HEAD or POST");
  }
  head.method = method;
  head.target = target;
  head.keeps_alive = version == "HTTP/1.1";
}

// All values of a header, or none.
std::vector<std::string_view> values_of(const HttpHead& head, std::string_view name) {
  std::vector<std::string_view> values;
  for (const auto& [key, value] : head.headers) {
    if (key == name) values.push_back(value);
  }
  return values;
}

// The value of a header that comes once at most.
std::optional<std::string_view> only(const HttpHead& head, std::string_view name) {
  const std::vector<std::string_view> values = values_of(head, name);
  if (values.size() > 1) refuse(400, "the header " + std::string(name) + " comes twice");
  if (values.empty()) return std::nullopt;
  return values[0];
}

int64_t parse_length(std::string_view text) {
  constexpr size_t kMostDigits = 18;
  int64_t length = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), length).ptr;
  const bool only_digits = text.find_first_not_of("0123456789") == std::string_view::npos;
  if (text.empty() || text.size() > kMostDigits || !only_digits || end != text.end()) {
    refuse(400, "expected a Content-Length of 1 to 18 digits");
  }
  return length;
}

// Where the body ends.
void find_framing(HttpHead& head, bool is_http_1_1) {
  const auto length = only(head, "content-length");
  const auto coding = only(head, "transfer-encoding");
  if (coding) {
    if (length) refuse(400, "both Content-Length and Transfer-Encoding: where does the body end?");
    if (!is_http_1_1) refuse(400, "Transfer-Encoding in a request of HTTP/1.0");
    if (lower(*coding) != "chunked") refuse(400, "expected a Transfer-Encoding of chunked alone");
    head.is_chunked = true;
  }
  if (length) head.content_length = parse_length(*length);
  const bool has_body = head.is_chunked || head.content_length > 0;
  if (head.method == "POST" && !length && !coding) refuse(411, "expected a Content-Length");
  if (head.method != "POST" && has_body) refuse(400, "expected no body with " + head.method);
  const auto encoding = only(head, "content-encoding");
  if (encoding && lower(*encoding) != "identity") {
    refuse(415, "expected a body without Content-Encoding");
  }
}

void find_wishes(HttpHead& head, bool is_http_1_1) {
  if (is_http_1_1 && values_of(head, "host").size() != 1) refuse(400, "expected one Host header");
  for (const std::string_view value : values_of(head, "connection")) {
    const std::string wish = lower(value);
    if (wish.find("close") != std::string::npos) head.keeps_alive = false;
    if (!is_http_1_1 && wish == "keep-alive") head.keeps_alive = true;
  }
  const auto expectation = only(head, "expect");
  if (!expectation) return;
  if (lower(*expectation) != "100-continue") refuse(417, "expected no Expect but 100-continue");
  head.expects_continue = is_http_1_1;
}

// The next line, without its CRLF; `rest` goes on behind it.
std::string_view take_line(std::string_view& rest) {
  const size_t end = rest.find("\r\n");
  if (end == std::string_view::npos) refuse(400, "expected lines that end in CR LF");
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return line;
}

}  // namespace

std::optional<std::string> HttpHead::header(std::string_view name) const {
  const std::vector<std::string_view> values = values_of(*this, name);
  if (values.size() != 1) return std::nullopt;
  return std::string(values[0]);
}

void check_head_bytes(std::string_view bytes, size_t from) {
  for (size_t i = from; i < bytes.size(); ++i) {
    const char byte = bytes[i];
    const bool ends_line = byte == '\n' && i > 0 && bytes[i - 1] == '\r';
    const bool follows_return = i > 0 && bytes[i - 1] == '\r';
    const bool is_control =
        (byte >= 0 && byte < ' ' && byte != '\t' && byte != '\r') || byte == '\x7f';
    if (ends_line) continue;
    if (is_control || follows_return) {
      refuse(400, "expected text with lines that end in CR LF; is this TLS, or another protocol?");
    }
  }
}

std::pair<std::string, std::string> parse_header(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    refuse(400, "expected header lines of a name, a colon and a value");
  }
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (value.find('\r') != std::string_view::npos) refuse(400, "a header has CR in its value");
  return {lower(line.substr(0, colon)), std::string(value)};
}

HttpHead parse_head(std::string_view bytes) {
  check_head_bytes(bytes, 0);
  HttpHead head;
  const std::string_view request_line = take_line(bytes);
  const bool is_http_1_1 = !request_line.ends_with("HTTP/1.0");
  parse_request_line(request_line, head);
  while (true) {
    const std::string_view line = take_line(bytes);
    if (line.empty()) break;
    if (head.headers.size() == kMostHeaders) {
      refuse(431, "expected at most " + std::to_string(kMostHeaders) + " headers");
    }
    head.headers.push_back(parse_header(line));
  }
  find_framing(head, is_http_1_1);
  find_wishes(head, is_http_1_1);
  return head;
}

}  // namespace kvalign
