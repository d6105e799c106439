// Reads a server's answers as a client does, and believes none: an answer that does not hold what
// it says is an error of the server. Private to serve/.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace kvalign {

struct LoadAnswer {
  std::string id = {};
  std::string outcome = {};  ///< empty where the server says none
};

/// The body of an answer to infer; `json_bytes` as its header Inference-Header-Content-Length says.
/// Throws ServeRefusal, as the server's own reader does, for what is no JSON or not the protocol's,
/// a datatype that is not served, a tensor whose shape is not that of its data, and bytes that
/// belong to no tensor.
LoadAnswer read_infer_answer(std::string_view body, std::optional<size_t> json_bytes);

/// Server-sent events that arrive in parts of any size: calls `sink` with the JSON of each event.
/// Source: HTML Living Standard, 9.2.6 "Interpreting an event stream".
class EventReader {
 public:
  explicit EventReader(std::function<void(const nlohmann::json&)> sink) : sink_(std::move(sink)) {}

  /// Throws ServeRefusal for an event whose data is no JSON object.
  void feed(std::string_view bytes);

  /// Whether an event has begun that did not end.
  bool within_event() const { return !line_.empty() || !data_.empty(); }

 private:
  void end_line();
  void end_event();

  std::function<void(const nlohmann::json&)> sink_;
  std::string line_;
  std::string data_;
};

}  // namespace kvalign
