// A service without models: what HTTP tests ask. Deterministic, and slow or refusing on demand.
#pragma once

#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kvalign/serve/inference_service.h"

namespace kvalign::testing {

// Model "fixed", version "1". `infer` multiplies `features` FP32 [tokens, 2] by a fixed 2 x 3
// matrix into `cache` FP32 [tokens, 3], and gives `codes` UINT8 back as they came. Parameters:
// "sleep_ms", "outcome" ("fallback_reprefill", "unsupported"), "refuse" ("busy", "deadline"),
// "fail" (true). `generate` writes "piece0 piece1 ...": `max_tokens` of them, else a million, with
// "sleep_ms" before each.
class FakeService : public InferenceService {
 public:
  bool ready() const override { return is_ready; }
  std::vector<std::string> models() const override { return {"fixed"}; }

  nlohmann::json model_metadata(const std::string& model,
                                const std::string& version) const override {
    check_model(model, version);
    return {{"name", "fixed"},
            {"versions", {"1"}},
            {"platform", "kvalign"},
            {"inputs", {{{"name", "features"}, {"datatype", "FP32"}, {"shape", {-1, 2}}}}},
            {"outputs", {{{"name", "cache"}, {"datatype", "FP32"}, {"shape", {-1, 3}}}}}};
  }

  bool model_ready(const std::string& model, const std::string& version) const override {
    return is_ready && model == "fixed" && (version.empty() || version == "1");
  }

  ServeResponse infer(const ServeRequest& request) override {
    const InFlight counted(in_flight, most_in_flight);
    check_model(request.model, request.version);
    obey(request);
    ServeResponse response = answered(request);
    if (response.outcome != CacheOutcome::kApplied) return response;
    for (const ServedTensor& input : request.inputs) {
      if (input.name == "features") response.outputs.push_back(project(input));
      if (input.name == "codes") response.outputs.push_back(input);
    }
    return response;
  }

  ServeResponse generate(const ServeRequest& request, const PieceSink& sink) override {
    const InFlight counted(in_flight, most_in_flight);
    check_model(request.model, request.version);
    if (request.parameters.contains("refuse")) obey(request);
    ServeResponse response = answered(request);
    const int64_t count = request.parameters.value("max_tokens", int64_t{1000000});
    for (int64_t i = 0; i < count; ++i) {
      if (request.parameters.contains("sleep_ms")) obey(request);
      if (!sink({"piece" + std::to_string(i) + " ", i})) break;
      ++pieces;
      ++response.record.generated_tokens;
    }
    return response;
  }

  std::atomic<bool> is_ready = true;
  std::atomic<int> in_flight = 0;
  std::atomic<int> most_in_flight = 0;
  std::atomic<int64_t> pieces = 0;
  std::atomic<int64_t> answers = 0;

 private:
  struct InFlight {
    InFlight(std::atomic<int>& count, std::atomic<int>& most) : counted(count) {
      const int now = ++counted;
      int before = most;
      while (now > before && !most.compare_exchange_weak(before, now)) {
      }
    }
    ~InFlight() { --counted; }
    std::atomic<int>& counted;
  };

  static void check_model(const std::string& model, const std::string& version) {
    if (model != "fixed" || (!version.empty() && version != "1")) {
      throw ServeRefusal(404, "unknown_model", "no such model; known: fixed, version 1");
    }
  }

  static void obey(const ServeRequest& request) {
    const nlohmann::json& parameters = request.parameters;
    const int sleep_ms = parameters.value("sleep_ms", 0);
    if (sleep_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(sleep_ms));
    if (parameters.value("fail", false)) throw std::runtime_error("a secret of the service");
    const std::string refusal = parameters.value("refuse", "");
    if (refusal == "busy") throw ServeRefusal(503, "busy", "the queue is full");
    if (refusal == "deadline" || std::chrono::steady_clock::now() > request.deadline) {
      throw ServeRefusal(504, "deadline", "the deadline has passed");
    }
  }

  ServeResponse answered(const ServeRequest& request) {
    ++answers;
    ServeResponse response = {.model = "fixed", .version = "1"};
    const std::string outcome = request.parameters.value("outcome", "applied");
    if (outcome == "fallback_reprefill") response.outcome = CacheOutcome::kFallbackReprefill;
    if (outcome == "unsupported") response.outcome = CacheOutcome::kUnsupported;
    if (outcome != "applied") {
      response.reason = "the norms are out of range";
      response.record.reason = "norms";
    } else {
      response.certificate = {{"bound", 0.25}};
    }
    response.record.model = "fixed";
    response.record.outcome = response.outcome;
    return response;
  }

  static ServedTensor project(const ServedTensor& features) {
    const int64_t tokens = features.shape.at(0);
    ServedTensor cache = {.name = "cache", .datatype = "FP32", .shape = {tokens, 3}};
    for (int64_t t = 0; t < tokens; ++t) {
      float x[2];
      std::memcpy(x, features.data.data() + t * sizeof x, sizeof x);
      const float y[3] = {x[0] + 2 * x[1], 3 * x[0] - x[1], x[1] / 8};
      cache.data.append(reinterpret_cast<const char*>(y), sizeof y);
    }
    return cache;
  }
};

}  // namespace kvalign::testing
