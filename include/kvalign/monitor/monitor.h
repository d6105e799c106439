// What a server knows of itself: request records in, Prometheus text and the status page's numbers
// out. Knows nothing of HTTP and of models; whoever answers requests calls it, from any thread.
//
// The number of time series is bounded, whatever requests say: a model that is not served counts as
// "other", and so does a method, status, reason or phase beyond the first few words of each.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/monitor/drift_options.h"
#include "kvalign/monitor/drift_reference.h"
#include "kvalign/monitor/request_record.h"

namespace kvalign {

class KVALIGN_API Monitor {
 public:
  /// `models` are the names that are served. Throws std::invalid_argument for options out of their
  /// limits.
  explicit Monitor(const std::vector<std::string>& models, const DriftOptions& drift = {});
  ~Monitor();
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  /// Counts an answered request. Takes some microseconds.
  void record(const RequestRecord& record);
  /// |projected - true| / |true| of a request that was recorded before it was measured.
  void record_measured_error(const std::string& model, double error);
  /// An attempt to load a model's checkpoint anew.
  void record_reload(const std::string& model, bool succeeded);

  void set_ready(bool ready);
  void set_queue_depth(int64_t requests);
  void set_queue_capacity(int64_t requests);

  /// From now on compares the drift scores of `model` with `reference`, beginning anew where they
  /// were compared with another one. Without a call there is no test. Throws std::invalid_argument
  /// for a model that is not served, and as DriftTest does.
  void watch_drift(const std::string& model, const DriftReference& reference);

  /// Prometheus' text format, version 0.0.4 (content type "text/plain; version=0.0.4"): all of a
  /// request or nothing.
  std::string prometheus_text() const;

  /// A JSON object, what status_page() asks for; its keys are in src/monitor/status.cpp.
  std::string status_json() const;

 private:
  friend class RequestInFlight;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Counts as a request in flight as long as it lives; the monitor must live longer.
class KVALIGN_API RequestInFlight {
 public:
  explicit RequestInFlight(Monitor& monitor);
  ~RequestInFlight();
  RequestInFlight(const RequestInFlight&) = delete;
  RequestInFlight& operator=(const RequestInFlight&) = delete;

 private:
  Monitor& monitor_;
};

}  // namespace kvalign
