// The service that has models: what a server answers with. Requests are read, guarded, put
// together, projected and certified; the receiver goes on after a packet. HTTP is not its business
// (serve/).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kvalign/deploy/model_service_options.h"
#include "kvalign/format/export.h"
#include "kvalign/monitor/request_record.h"
#include "kvalign/serve/inference_service.h"

namespace kvalign {

/// What became of one model in a reload.
struct ReloadedModel {
  std::string model = {};
  std::string version = {};  ///< that answers from now on
  bool replaced = false;
  std::string error = {};  ///< why the earlier version stays; empty where nothing went wrong
};

/// Beside what InferenceService says:
///
/// Inputs of infer, one of them, always of a whole text's tokens in the sender's own order. T
/// tokens, F numbers a token: of a cache [keys of layer 0 .. L-1, then values], each [num_kv_heads,
/// head_dim]; of a low_rank checkpoint the latent.
///   packet    UINT8 [bytes]           of kvalign-encode: tokens in chunks are the T
///   codes     UINT8 [T, F]            E4M3FN, with scales
///   scales    FP32  [T, streams]      1 stream for a latent and for a flat cache
///   features  FP32, FP16, BF16 [T, F]
///   token_ids INT32 [tokens]          optional: of the whole text; what is re-read and measured
/// Outputs: `keys`, `values` FP32 [num_layers, num_kv_heads, T, head_dim], content keys; or `cache`
/// FP32 [T, D] of a flat checkpoint.
/// Parameters: tokenizer_sha256 and sender_revision, compared with the dataset's where it is known.
///
/// generate takes `packet`, and token_ids of all its tokens; parameter max_tokens. The cache that
/// the guard refuses is not used: where ids of all tokens came, in the packet or beside it, the
/// receiver reads them instead, and the outcome says fallback_reprefill.
///
/// With batch.bit_identical a request's answer has the bits that it has alone. Which batches keep
/// them is found out when a model is loaded (model_metadata: parameters.identical_from_tokens), and
/// smaller requests are projected alone.
class KVALIGN_API ModelService : public InferenceService {
 public:
  /// Loads all models again whose files have changed; requests in flight finish on what they began
  /// with. Where a file cannot be used, its model stays as it is. Answers go on meanwhile: it is
  /// the caller that waits.
  virtual std::vector<ReloadedModel> reload() = 0;

  /// Takes nothing more, answers what was taken, and returns when that is done. Twice is fine.
  virtual void stop() = 0;

  /// Requests that wait to be projected.
  virtual int64_t queue_depth() const = 0;

  /// Called from a thread of its own with what was measured of a shadow-sampled request: a record
  /// of method "shadow" with tokens, measured_error and certified_error, which counts beside the
  /// request's own record. To be set before the first request.
  virtual void set_shadow_sink(std::function<void(const RequestRecord&)> sink) = 0;
};

/// Loads all models before it returns. Throws std::invalid_argument as validate_options and
/// model_specs, and std::runtime_error naming the model for a file that cannot be used, a receiver
/// that is not the checkpoint's, and a dataset, tokeniser or revision that is another.
KVALIGN_API std::unique_ptr<ModelService> make_model_service(const ModelServiceOptions& options);

}  // namespace kvalign
