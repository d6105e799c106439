// Heads and bodies, read whole. See the header.
#include "http_reader.h"

#include <algorithm>
#include <charconv>

#include "kvalign/serve/inference_service.h"

namespace kvalign {
namespace {

constexpr size_t kReadBytes = 65536;
constexpr size_t kMostChunkLineBytes = 256;
constexpr size_t kMostTrailerBytes = 4096;

[[noreturn]] void refuse(int status, const char* label, const std::string& text) {
  throw ServeRefusal(status, label, "HTTP: " + text);
}

[[noreturn]] void refuse_size(int64_t most) {
  refuse(413, "too_large",
         "expected a body of at most " + std::to_string(most) + " bytes (serve.max_body_bytes)");
}

}  // namespace

bool HttpReader::begin() {
  return has_bytes() || append(after_seconds(options_.head_seconds)) > 0;
}

size_t HttpReader::append(Deadline deadline) {
  const size_t had = buffer_.size();
  buffer_.resize(had + kReadBytes);
  size_t got = 0;
  try {
    got = transport_.read(buffer_.data() + had, kReadBytes, deadline);
  } catch (...) {
    buffer_.resize(had);
    throw;
  }
  buffer_.resize(had + got);
  return got;
}

void HttpReader::fill(Deadline deadline, const char* part) {
  try {
    if (append(deadline) > 0) return;
  } catch (const TransportTimeout&) {
    refuse(408, "slow", std::string("the ") + part + " did not come in time");
  }
  refuse(400, "cut_off", std::string("the connection ended within the ") + part);
}

std::string HttpReader::take(size_t bytes) {
  std::string taken = buffer_.substr(0, bytes);
  buffer_.erase(0, bytes);
  return taken;
}

HttpHead HttpReader::read_head() {
  const Deadline deadline = after_seconds(options_.head_seconds);
  size_t looked_at = 0;
  while (true) {
    // One empty line before a request is let pass, as RFC 9112, 2.2 asks for.
    if (looked_at == 0 && buffer_.starts_with("\r\n")) buffer_.erase(0, 2);
    const size_t end = buffer_.find("\r\n\r\n", looked_at < 3 ? 0 : looked_at - 3);
    const size_t head_end = end == std::string::npos ? buffer_.size() : end + 4;
    check_head_bytes(std::string_view(buffer_).substr(0, head_end), looked_at);
    if (head_end > kMostHeadBytes) {
      refuse(431, "malformed",
             "expected a head of at most " + std::to_string(kMostHeadBytes) + " bytes");
    }
    if (end != std::string::npos) return parse_head(take(head_end));
    looked_at = buffer_.size();
    if (looked_at == 0 || buffer_ == "\r") looked_at = 0;
    fill(deadline, "head");
  }
}

std::string HttpReader::read_body(const HttpHead& head, BodyBudget::Share& share) {
  if (head.content_length > options_.max_body_bytes) refuse_size(options_.max_body_bytes);
  if (!head.is_chunked) share.take(head.content_length);
  const Deadline deadline = after_seconds(options_.body_seconds);
  const bool has_body = head.is_chunked || head.content_length > 0;
  if (head.expects_continue && has_body && buffer_.empty()) {
    transport_.write("HTTP/1.1 100 Continue\r\n\r\n", deadline);
  }
  return head.is_chunked ? read_chunked(deadline, share)
                         : read_sized(static_cast<size_t>(head.content_length), deadline);
}

std::string HttpReader::read_sized(size_t bytes, Deadline deadline) {
  // Addresses for all of it; memory comes with the bytes, not with what was announced.
  buffer_.reserve(bytes + kReadBytes);
  while (buffer_.size() < bytes) fill(deadline, "body");
  if (buffer_.size() == bytes) return std::exchange(buffer_, {});
  return take(bytes);
}

std::string HttpReader::take_line(Deadline deadline, size_t most, const char* part) {
  while (true) {
    const size_t end = buffer_.find('\n');
    if (std::min(end, buffer_.size()) > most)
      refuse(400, "malformed", std::string(part) + " is too long");
    if (end == std::string::npos) {
      fill(deadline, "body");
      continue;
    }
    std::string line = take(end + 1);
    if (!line.ends_with("\r\n"))
      refuse(400, "malformed", std::string(part) + " does not end in CR LF");
    line.resize(line.size() - 2);
    return line;
  }
}

size_t HttpReader::read_chunk_size(Deadline deadline) {
  constexpr size_t kMostDigits = 8;
  const std::string line = take_line(deadline, kMostChunkLineBytes, "a chunk's size");
  const size_t digits = std::min(line.find_first_not_of("0123456789abcdefABCDEF"), line.size());
  const bool ends = digits == line.size() || line[digits] == ';';
  if (digits == 0 || digits > kMostDigits || !ends) {
    refuse(400, "malformed", "expected a chunk's size of 1 to 8 hexadecimal digits");
  }
  size_t size = 0;
  std::from_chars(line.data(), line.data() + digits, size, 16);
  return size;
}

std::string HttpReader::read_chunked(Deadline deadline, BodyBudget::Share& share) {
  std::string body;
  while (const size_t size = read_chunk_size(deadline)) {
    if (body.size() + size > static_cast<size_t>(options_.max_body_bytes)) {
      refuse_size(options_.max_body_bytes);
    }
    share.take(static_cast<int64_t>(size));
    while (buffer_.size() < size + 2) fill(deadline, "body");
    if (buffer_.compare(size, 2, "\r\n") != 0) {
      refuse(400, "malformed", "a chunk does not end where its size says");
    }
    body.append(buffer_, 0, size);
    buffer_.erase(0, size + 2);
  }
  read_trailers(deadline);
  return body;
}

void HttpReader::read_trailers(Deadline deadline) {
  size_t bytes = 0;
  while (true) {
    const std::string line = take_line(deadline, kMostTrailerBytes, "a trailer");
    if (line.empty()) return;
    bytes += line.size();
    if (bytes > kMostTrailerBytes) refuse(400, "malformed", "the trailers are too long");
    parse_header(line);
  }
}

}  // namespace kvalign
