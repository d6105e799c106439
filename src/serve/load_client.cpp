// See load_client.h.
#include "load_client.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "load_pipe_signal.h"
#include "load_request.h"
#include "load_response.h"

namespace kvalign {
namespace {

constexpr const char* kJsonBytesHeader = "Inference-Header-Content-Length";

std::string token_of(const std::string& path) {
  std::string token = read_file(path);
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  return token;
}

double seconds_since(LoadClock::time_point start) {
  return std::chrono::duration<double>(LoadClock::now() - start).count();
}

// cpp-httplib has one error for a connection that ended and for one that stayed silent.
std::string word_of(httplib::Error error, double silent_seconds, double timeout_seconds) {
  switch (error) {
    case httplib::Error::Read:
    case httplib::Error::Write:
    case httplib::Error::Canceled:
      return silent_seconds >= timeout_seconds ? "timeout" : "lost";
    case httplib::Error::ConnectionTimeout:
      return "timeout";
    default:
      return "unreachable";
  }
}

// What a stream of text says of itself, event by event.
struct TextStream {
  std::string error = {};
  bool of_other_query = false;

  void read(const nlohmann::json& event, double now, LoadQuery& query) {
    of_other_query = of_other_query || event.value("id", query.id) != query.id;
    if (event.contains("error")) error = "failed";
    if (event.contains("outcome")) query.outcome = event["outcome"].get<std::string>();
    if (event.contains("text_output") && !event["text_output"].get<std::string>().empty()) {
      query.pieces.push_back(now);
    }
  }
};

}  // namespace

LoadClient::LoadClient(const LoadOptions& options) : options_(options), client_(options.url) {
  client_.set_keep_alive(true);
  // Or the kernel would hold a small body back until the server acknowledges the headers.
  client_.set_tcp_nodelay(true);
  const auto timeout = std::chrono::microseconds(
      std::max<int64_t>(1, static_cast<int64_t>(1e6 * options.timeout_seconds)));
  client_.set_connection_timeout(timeout);
  client_.set_read_timeout(timeout);
  client_.set_write_timeout(timeout);
  if (!options.ca_file.empty()) client_.set_ca_cert_path(options.ca_file);
  if (!options.token_file.empty()) {
    headers_.emplace("Authorization", "Bearer " + token_of(options.token_file));
  }
}

std::string LoadClient::path_of_model() const {
  return "/v2/models/" + options_.model +
         (options_.version.empty() ? "" : "/versions/" + options_.version);
}

nlohmann::json LoadClient::model_metadata() {
  const BlockedPipeSignal blocked;
  const std::string what = "load: GET " + options_.url + path_of_model() + ": ";
  const httplib::Result result = client_.Get(path_of_model(), headers_);
  if (!result) throw std::runtime_error(what + "no answer (" + to_string(result.error()) + ")");
  if (result->status != 200) {
    throw std::runtime_error(what + "expected status 200, got " + std::to_string(result->status) +
                             ": " + result->body.substr(0, 200));
  }
  nlohmann::json metadata = nlohmann::json::parse(result->body, nullptr, false);
  if (!metadata.is_object() || !metadata.value("inputs", nlohmann::json()).is_array()) {
    throw std::runtime_error(what + "expected the model's metadata, got " +
                             result->body.substr(0, 200));
  }
  return metadata;
}

httplib::Request LoadClient::prepare(const std::string& id, const LoadInput& input) const {
  httplib::Request request;
  request.method = "POST";
  request.headers = headers_;
  if (options_.request == "generate") {
    request.path = path_of_model() + "/generate_stream";
    request.body = generate_body(id, input.packet, options_.max_tokens);
    request.set_header("Content-Type", "application/json");
    return request;
  }
  InferBody body = infer_body(id, input.tensors);
  request.path = path_of_model() + "/infer";
  request.body = std::move(body.bytes);
  request.set_header("Content-Type", "application/octet-stream");
  request.set_header(kJsonBytesHeader, std::to_string(body.json_bytes));
  return request;
}

void LoadClient::read_answer(const httplib::Response& response, LoadQuery& query) const {
  std::optional<size_t> json_bytes;
  if (response.has_header(kJsonBytesHeader)) {
    json_bytes = response.get_header_value<uint64_t>(kJsonBytesHeader);
  }
  const LoadAnswer answer = read_infer_answer(response.body, json_bytes);
  query.outcome = answer.outcome;
  if (answer.id != query.id) query.error = "mismatched";
}

void LoadClient::send(httplib::Request& request, LoadClock::time_point start, LoadQuery& query) {
  const BlockedPipeSignal blocked;
  TextStream stream;
  bool malformed = false;
  EventReader events(
      [&](const nlohmann::json& event) { stream.read(event, seconds_since(start), query); });
  if (options_.request == "generate") {
    request.content_receiver = [&](const char* bytes, size_t size, uint64_t, uint64_t) {
      try {
        events.feed({bytes, size});
      } catch (const std::exception&) {
        malformed = true;
      }
      return true;
    };
  }
  httplib::Response response;
  httplib::Error error = httplib::Error::Success;
  query.sent = seconds_since(start);
  const bool came = client_.send(request, response, error);
  query.done = seconds_since(start);
  if (!came) {
    const double last_byte = query.pieces.empty() ? query.sent : query.pieces.back();
    query.error = word_of(error, query.done - last_byte, options_.timeout_seconds);
    return;
  }
  query.status = response.status;
  query.retry_after = response.has_header("Retry-After");
  if (response.status != 200) {
    query.error = std::to_string(response.status);
    return;
  }
  try {
    if (options_.request == "infer") read_answer(response, query);
  } catch (const std::exception&) {
    malformed = true;
  }
  if (malformed || events.within_event()) {
    query.error = "malformed";
  } else if (stream.of_other_query) {
    query.error = "mismatched";
  } else if (!stream.error.empty()) {
    query.error = stream.error;
  }
}

}  // namespace kvalign
