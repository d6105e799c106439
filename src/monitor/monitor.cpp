// One lock, one registry: counts requests and reads the counts. See monitor.h.
#include "kvalign/monitor/monitor.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "kvalign/monitor/drift_test.h"
#include "label_values.h"
#include "metrics.h"
#include "recent.h"
#include "series.h"
#include "status.h"

namespace kvalign {
namespace {

constexpr int kStatusSchema = 1;
constexpr size_t kRoom = 16;  // words of a label beyond the known ones

const std::vector<std::string>& checked(const std::vector<std::string>& models) {
  for (const std::string& model : models) {
    if (model.empty() || model == "none" || model == "other") {
      throw std::invalid_argument("Monitor: a model cannot be named \"" + model +
                                  "\": metrics say none and other of requests to no model and to "
                                  "unknown ones. Name it otherwise.");
    }
  }
  return models;
}

struct Watch {
  DriftReference reference;
  DriftTest test;
  DriftMetrics metrics;
};

}  // namespace

struct Monitor::Impl {
  Impl(const std::vector<std::string>& served, const DriftOptions& drift_options)
      : options(drift_options), models(checked(served)), names(served) {
    validate_options(options);
    for (const std::string& model : served) metrics_of(model);
  }

  ModelMetrics& metrics_of(const std::string& model) {
    return by_model.try_emplace(model, metrics, model).first->second;
  }

  void count_times(const RequestRecord& record, const std::string& model,
                   const std::string& method) {
    double total = 0;
    for (const auto& [name, seconds] : record.phase_seconds) {
      const std::string phase = phases.admit(name);
      phase_seconds.at({model, phase}, second_buckets()).Observe(seconds);
      recent.seconds[phase].add(seconds);
      total += seconds;
    }
    request_seconds.at({model, method}, second_buckets()).Observe(total);
  }

  static void count_error(Metrics::Histogram& histogram, Metrics::Counter& undefined,
                          double error) {
    if (std::isfinite(error)) {
      histogram.Observe(error);
    } else {
      undefined.Increment();
    }
  }

  void count_certified_wire(ModelMetrics& of_model, double error) {
    recent.certified_wire.add({recent.requests, error});
    count_error(of_model.certified_wire_error, of_model.undefined_certified_wire, error);
  }

  void count_certified(ModelMetrics& of_model, double error) {
    recent.certified.add({recent.requests, error});
    count_error(of_model.certified_error, of_model.undefined_certified, error);
  }

  void count_measured(ModelMetrics& of_model, double error) {
    recent.measured.add({recent.requests, error});
    count_error(of_model.measured_error, of_model.undefined_measured, error);
  }

  void count_drift(const std::string& model, double score) {
    const auto found = watches.find(model);
    if (found == watches.end()) return;
    Watch& watch = found->second;
    const int64_t alarms = watch.test.state().alarms;
    watch.metrics.rank.Observe(watch.test.observe(score));
    watch.metrics.alarms.Increment(static_cast<double>(watch.test.state().alarms - alarms));
    show(watch);
  }

  void show(Watch& watch) {
    const DriftState& state = watch.test.state();
    watch.metrics.martingale.Set(state.log10_martingale);
    watch.metrics.p_value.Set(state.p_value());
    watch.metrics.alarm.Set(state.alarm ? 1 : 0);
    watch.metrics.alpha.Set(options.alpha);
  }

  const std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  const DriftOptions options;
  LabelValues models;
  LabelValues methods{{"infer", "generate", "generate_stream"}, kRoom};
  LabelValues statuses{{"200", "400", "401", "404", "413", "500", "503", "504"}, kRoom};
  LabelValues reasons{{"invalid", "malformed", "unknown_model", "unknown_path", "unauthorised",
                       "too_large", "busy", "deadline", "client_gone", "internal"},
                      2 * kRoom};
  LabelValues phases{
      {"read", "queue", "decode", "guard", "project", "certify", "continue", "write"}, kRoom};
  const std::vector<std::string> names;
  Metrics metrics;
  Series<Metrics::Counter, 5> requests{metrics.requests,
                                       {"model", "method", "status", "outcome", "reason"}};
  Series<Metrics::Histogram, 2> phase_seconds{metrics.phase_seconds, {"model", "phase"}};
  Series<Metrics::Histogram, 2> request_seconds{metrics.request_seconds, {"model", "method"}};
  std::map<std::string, ModelMetrics> by_model;
  std::map<std::string, Watch> watches;
  Recent recent;
  mutable std::mutex mutex;  // of everything but the gauges
};

Monitor::Monitor(const std::vector<std::string>& models, const DriftOptions& drift)
    : impl_(std::make_unique<Impl>(models, drift)) {}
Monitor::~Monitor() = default;

void Monitor::record(const RequestRecord& record) {
  Impl& all = *impl_;
  const std::lock_guard lock(all.mutex);
  const std::string model = all.models.admit(record.model);
  const std::string method = all.methods.admit(record.method);
  ++all.recent.requests;
  all.requests
      .at({model, method, all.statuses.admit(std::to_string(record.status)),
           record.outcome ? name_of(*record.outcome) : "none", all.reasons.admit(record.reason)})
      .Increment();
  all.count_times(record, model, method);
  ModelMetrics& of_model = all.metrics_of(model);
  of_model.cache_tokens.Increment(static_cast<double>(record.tokens));
  of_model.generated_tokens.Increment(static_cast<double>(record.generated_tokens));
  of_model.received_bytes.Increment(static_cast<double>(record.bytes_received));
  of_model.sent_bytes.Increment(static_cast<double>(record.bytes_sent));
  of_model.elements.Increment(static_cast<double>(record.elements));
  of_model.saturated.Increment(static_cast<double>(record.saturated));
  if (record.certified_wire_error) all.count_certified_wire(of_model, *record.certified_wire_error);
  if (record.certified_error) all.count_certified(of_model, *record.certified_error);
  if (record.measured_error) all.count_measured(of_model, *record.measured_error);
  if (record.drift_score) all.count_drift(model, *record.drift_score);
}

void Monitor::record_measured_error(const std::string& model, double error) {
  const std::lock_guard lock(impl_->mutex);
  impl_->count_measured(impl_->metrics_of(impl_->models.admit(model)), error);
}

void Monitor::record_reload(const std::string& model, bool succeeded) {
  const std::lock_guard lock(impl_->mutex);
  ModelMetrics& of_model = impl_->metrics_of(impl_->models.admit(model));
  (succeeded ? of_model.reloads : of_model.failed_reloads).Increment();
}

void Monitor::set_ready(bool ready) {
  impl_->metrics.ready.Set(ready ? 1 : 0);
}

void Monitor::set_queue_depth(int64_t requests) {
  impl_->metrics.queue_depth.Set(static_cast<double>(requests));
}

void Monitor::set_queue_capacity(int64_t requests) {
  impl_->metrics.queue_capacity.Set(static_cast<double>(requests));
}

void Monitor::watch_drift(const std::string& model, const DriftReference& reference) {
  Impl& all = *impl_;
  const std::lock_guard lock(all.mutex);
  if (std::find(all.names.begin(), all.names.end(), model) == all.names.end()) {
    throw std::invalid_argument("Monitor::watch_drift: \"" + model +
                                "\" is not one of the models that are served");
  }
  const auto found = all.watches.find(model);
  if (found != all.watches.end() && found->second.reference.checkpoint == reference.checkpoint &&
      found->second.reference.scores == reference.scores) {
    return;
  }
  Watch watch{reference, DriftTest(reference.scores, all.options),
              DriftMetrics(all.metrics, model)};
  all.show(watch);
  if (found != all.watches.end()) all.watches.erase(found);
  all.watches.emplace(model, std::move(watch));
}

std::string Monitor::prometheus_text() const {
  const std::vector<prometheus::MetricFamily> families = [this] {
    const std::lock_guard lock(impl_->mutex);
    return impl_->metrics.registry.Collect();
  }();
  return prometheus::TextSerializer().Serialize(families);
}

std::string Monitor::status_json() const {
  nlohmann::json status;
  Recent recent;
  std::vector<DriftStatus> tests;
  {
    const std::lock_guard lock(impl_->mutex);
    status = counted_status(impl_->metrics);
    recent = impl_->recent;
    for (const auto& [model, watch] : impl_->watches) {
      tests.push_back({model, watch.reference.scores.size(), impl_->options, watch.test.state()});
    }
  }
  status["schema"] = kStatusSchema;
  status["version"] = KVALIGN_VERSION;
  status["models"] = impl_->names;
  status["uptime_seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - impl_->begin).count();
  status["drift"] = drift_status(tests);
  status.update(recent_status(recent));
  return status.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

RequestInFlight::RequestInFlight(Monitor& monitor) : monitor_(monitor) {
  monitor_.impl_->metrics.in_flight.Increment();
}

RequestInFlight::~RequestInFlight() {
  monitor_.impl_->metrics.in_flight.Decrement();
}

}  // namespace kvalign
