// Endpoints that run a model. See http_handlers.h.
#include <charconv>
#include <utility>

#include "generation_stream.h"
#include "http_handlers.h"

namespace kvalign {
namespace {

constexpr const char* kJsonBytes = "Inference-Header-Content-Length";

// The header as a number; none where it is not there.
std::optional<int64_t> json_bytes_of(const HttpHead& head) {
  const std::optional<std::string> text = head.header("inference-header-content-length");
  if (!text) return std::nullopt;
  int64_t bytes = -1;
  const auto result = std::from_chars(text->data(), text->data() + text->size(), bytes);
  if (result.ec != std::errc() || result.ptr != text->data() + text->size()) {
    throw ServeRefusal(400, "invalid",
                       std::string("infer: expected ") + kJsonBytes + " to be a number of bytes");
  }
  return bytes;
}

// The client's own time, in microseconds, where it is the shorter one.
Deadline earlier(Deadline deadline, std::optional<int64_t> microseconds) {
  if (!microseconds || *microseconds == 0) return deadline;  // 0: none, as in Triton
  return std::min(deadline, after_seconds(static_cast<double>(*microseconds) * 1e-6));
}

// What the service knows goes beside what HTTP knows.
void merge(RequestRecord known, CacheOutcome outcome, RequestRecord& record) {
  known.method = record.method;
  known.bytes_received = record.bytes_received;
  known.outcome = outcome;
  if (known.model.empty()) known.model = record.model;
  known.phase_seconds.merge(record.phase_seconds);
  record = std::move(known);
}

// One server-sent event; JSON has no line ends of its own.
std::string event_of(const std::string& json) {
  return "data: " + json + "\n\n";
}

void send_pieces(GenerationStream& generation, std::optional<GeneratedPiece> piece,
                 const PartSink& sink, RequestRecord& record) {
  const ServeRequest& request = generation.request();
  try {
    for (; piece; piece = generation.next()) {
      if (!sink(event_of(write_generated_piece(request, *piece)))) {
        record.status = 499;
        record.reason = "client_gone";
        return;
      }
    }
    const ServeResponse& response = generation.response();
    merge(response.record, response.outcome, record);
    sink(event_of(write_generate_response(response, "", request.id)));
  } catch (const std::exception& error) {
    // The status has been sent; the protocol's error object ends the stream.
    record.status = 500;
    record.reason = "internal";
    sink(event_of(write_error("generate: stopped by an internal error")));
  }
}

}  // namespace

HttpResponse HttpHandlers::infer(const Route& route, HttpRequest& request,
                                 AccessLogEntry& entry) const {
  InferCall call = parse_infer(request.body, json_bytes_of(request.head), limits_);
  std::string().swap(request.body);  // its tensors are copies
  entry.id = call.request.id;
  call.request.model = route.model;
  call.request.version = route.version;
  call.request.deadline = earlier(request.deadline, call.timeout_microseconds);
  ServeResponse answer = service_.infer(call.request);
  OpenInferenceBody body = write_infer_response(answer, call);
  merge(std::move(answer.record), answer.outcome, entry.record);
  HttpResponse response = {.body = std::move(body.bytes)};
  if (body.json_bytes) {
    response.content_type = "application/octet-stream";
    response.headers.emplace_back(kJsonBytes, std::to_string(*body.json_bytes));
  }
  return response;
}

ServeRequest HttpHandlers::generate_request(const Route& route, HttpRequest& request,
                                            AccessLogEntry& entry) const {
  ServeRequest parsed = parse_generate(request.body, limits_);
  std::string().swap(request.body);
  entry.id = parsed.id;
  parsed.model = route.model;
  parsed.version = route.version;
  parsed.deadline = request.deadline;
  return parsed;
}

HttpResponse HttpHandlers::generate(const Route& route, HttpRequest& request,
                                    AccessLogEntry& entry) const {
  const ServeRequest parsed = generate_request(route, request, entry);
  std::string text;
  ServeResponse answer = service_.generate(parsed, [&](const GeneratedPiece& piece) {
    text += piece.text;
    return !request.client_is_gone();
  });
  HttpResponse response = {.body = write_generate_response(answer, text, parsed.id)};
  merge(std::move(answer.record), answer.outcome, entry.record);
  return response;
}

HttpResponse HttpHandlers::generate_stream(const Route& route, HttpRequest& request,
                                           AccessLogEntry& entry) const {
  const auto generation =
      std::make_shared<GenerationStream>(service_, generate_request(route, request, entry));
  // With the first piece, or the end, the request has not been refused.
  std::optional<GeneratedPiece> first = generation->next();
  HttpResponse response = {.content_type = "text/event-stream"};
  response.stream = [generation, first = std::move(first)](const PartSink& sink,
                                                           RequestRecord& record) {
    send_pieces(*generation, first, sink, record);
  };
  return response;
}

}  // namespace kvalign
