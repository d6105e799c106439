// What a server asks of whoever answers: the words of the Open Inference Protocol (KServe v2) as
// types. HTTP (serve/) knows nothing of models, and what answers (deploy/) nothing of HTTP.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/monitor/request_record.h"

namespace kvalign {

/// A tensor of a request or a response, row-major, little-endian, whichever way it travels.
struct ServedTensor {
  std::string name = {};
  std::string datatype = {};  ///< the protocol's: UINT8, INT32, INT64, FP16, BF16, FP32
  std::vector<int64_t> shape = {};
  std::string data = {};  ///< size of the datatype x product of the shape, checked before use
};

struct ServeRequest {
  std::string model = {};
  std::string version = {};  ///< empty: the newest
  std::string id = {};
  std::vector<ServedTensor> inputs = {};
  std::vector<std::string> outputs = {};                 ///< empty: all
  nlohmann::json parameters = nlohmann::json::object();  ///< of the request
  std::chrono::steady_clock::time_point deadline = {};   ///< answers after it are refused
};

struct ServeResponse {
  std::string model = {};
  std::string version = {};
  CacheOutcome outcome = CacheOutcome::kApplied;
  std::string reason = {};                 ///< in words, for people; empty where applied
  nlohmann::json certificate = nullptr;    ///< of this request; null where nothing was used
  std::vector<ServedTensor> outputs = {};  ///< none unless applied
  RequestRecord record = {};               ///< all but method, status and bytes
};

/// Text that the receiver writes, in pieces: UTF-8, each piece whole characters.
struct GeneratedPiece {
  std::string text = {};
  int64_t token_id = 0;
};

/// False stops the generation: the client is gone.
using PieceSink = std::function<bool(const GeneratedPiece&)>;

/// A request that is not answered. `label` is one of a few short words, for metrics.
struct KVALIGN_API ServeRefusal : std::runtime_error {
  ServeRefusal(int status_of_http, std::string short_label, const std::string& message)
      : std::runtime_error(message), status(status_of_http), label(std::move(short_label)) {}
  int status;         ///< 400 invalid, 404 no such model, 413 too large, 503 busy, 504 too late
  std::string label;  ///< "invalid", "unknown_model", "too_large", "busy", "deadline"
};

/// Called from many threads at once.
class KVALIGN_API InferenceService {
 public:
  virtual ~InferenceService();

  /// False while a checkpoint is loaded for the first time, and when draining.
  virtual bool ready() const = 0;
  virtual std::vector<std::string> models() const = 0;
  /// The protocol's model metadata: name, versions, platform, inputs, outputs. Throws ServeRefusal
  /// (404) for an unknown model or version.
  virtual nlohmann::json model_metadata(const std::string& model,
                                        const std::string& version) const = 0;
  virtual bool model_ready(const std::string& model, const std::string& version) const = 0;

  /// A packet (`packet` UINT8 [bytes]), FP8 codes with scales (`codes` UINT8, `scales` FP32), or
  /// features (`features` FP32, FP16 or BF16) to the receiver's cache. Throws ServeRefusal.
  virtual ServeResponse infer(const ServeRequest& request) = 0;

  /// The receiver goes on after a packet; `parameters` may hold max_tokens. Pieces go to `sink` as
  /// they come; the response has no outputs. Throws ServeRefusal, before the first piece alone.
  virtual ServeResponse generate(const ServeRequest& request, const PieceSink& sink) = 0;
};

}  // namespace kvalign
