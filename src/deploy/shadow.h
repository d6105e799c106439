// Measures the error of requests after they were answered: the receiver reads the text itself, and
// its cache is compared with the projected one. One thread of the lowest priority, a short queue,
// and what does not fit is dropped. Private to deploy/.
#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "kvalign/deploy/model_service_options.h"
#include "kvalign/monitor/request_record.h"
#include "served_model.h"

namespace kvalign {

struct ShadowRequest {
  std::shared_ptr<const ServedModel> model = {};  ///< has a receiver
  at::Tensor projected_RTD = {};                  ///< of the tokens after the sinks
  at::Tensor token_ids = {};                      ///< int64, of all tokens
  int64_t num_sinks = 0;
  RequestRecord record = {};  ///< of the request; the sink's is made from it
};

/// Mean over streams of |projected - true| / |true|, over all tokens that were projected.
double measure_error(const ShadowRequest& request);

class ShadowMeter {
 public:
  explicit ShadowMeter(const ShadowOptions& options);
  ~ShadowMeter();  ///< what waits is dropped
  ShadowMeter(const ShadowMeter&) = delete;
  ShadowMeter& operator=(const ShadowMeter&) = delete;

  void set_sink(std::function<void(const RequestRecord&)> sink);

  /// Whether the next request of those that could be measured is to be: every 1 / rate-th.
  bool draw();

  /// Takes it, or drops it where the queue is full.
  void submit(ShadowRequest request);

 private:
  void loop();

  const ShadowOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void(const RequestRecord&)> sink_;
  std::deque<ShadowRequest> waiting_;
  double drawn_ = 0;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace kvalign
