// Registers the metrics. See metrics.h.
#include "metrics.h"

namespace kvalign {
namespace {

using prometheus::Labels;
using Counters = Metrics::Family<prometheus::Counter>;
using Gauges = Metrics::Family<prometheus::Gauge>;
using Histograms = Metrics::Family<prometheus::Histogram>;

Counters& counters(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Gauges& gauges(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

Histograms& histograms(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

prometheus::Gauge& gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return gauges(registry, name, help).Add({});
}

}  // namespace

Metrics::Metrics()
    : ready(gauge(registry, "kvalign_ready", "1 while requests are taken, else 0.")),
      in_flight(gauge(registry, "kvalign_requests_in_flight", "Requests not answered yet.")),
      queue_depth(gauge(registry, "kvalign_queue_depth", "Requests that wait to be batched.")),
      queue_capacity(gauge(registry, "kvalign_queue_capacity",
                           "Requests that may wait; further ones are refused with 503.")),
      requests(counters(registry, "kvalign_requests_total",
                        "Answers, by the status of HTTP, what became of the cache that came "
                        "(outcome: none where the request was refused), and why.")),
      request_seconds(histograms(registry, "kvalign_request_duration_seconds",
                                 "Time of a request, the sum of its phases.")),
      phase_seconds(histograms(registry, "kvalign_phase_duration_seconds",
                               "Time of one phase of a request.")),
      cache_tokens(counters(registry, "kvalign_cache_tokens_total",
                            "Tokens whose cache came with requests.")),
      generated_tokens(
          counters(registry, "kvalign_generated_tokens_total", "Tokens that receivers wrote.")),
      received_bytes(counters(registry, "kvalign_received_bytes_total", "Bodies of requests.")),
      sent_bytes(counters(registry, "kvalign_sent_bytes_total", "Bodies of responses.")),
      elements(counters(registry, "kvalign_fp8_elements_total", "FP8 codes that came.")),
      saturated(counters(registry, "kvalign_fp8_saturated_elements_total",
                         "FP8 codes that came and are the largest there is.")),
      certified_wire_error(histograms(registry, "kvalign_certified_wire_error_ratio",
                                      "What rounding to FP8 changed a token that came by at most, "
                                      "relative to it; the median of a request's tokens.")),
      certified_error(histograms(registry, "kvalign_certified_error_ratio",
                                 "What rounding to FP8 changes a projected token by at most, "
                                 "relative to it; the median of a request's tokens.")),
      measured_error(histograms(registry, "kvalign_measured_error_ratio",
                                "Distance of a projected cache from the receiver's own, relative "
                                "to that, of requests sampled for it.")),
      undefined_errors(counters(registry, "kvalign_undefined_errors_total",
                                "Errors that are no finite number: where certified, nothing is "
                                "known; where measured, the cache holds none.")),
      reloads(counters(registry, "kvalign_reloads_total",
                       "Attempts to load a model's checkpoint anew.")),
      drift_rank(histograms(registry, "kvalign_drift_rank_p_value",
                            "Conformal p-values of requests: uniform where nothing drifts.")),
      drift_martingale(gauges(registry, "kvalign_drift_martingale_log10",
                              "Evidence for drift in this round, as a power of ten.")),
      drift_p_value(gauges(registry, "kvalign_drift_p_value",
                           "At most u with probability at most u in a round without drift, "
                           "whenever one looks.")),
      drift_alarm(gauges(registry, "kvalign_drift_alarm",
                         "1 where this round or the one before it raised an alarm.")),
      drift_alarms(counters(registry, "kvalign_drift_alarms_total", "Rounds with an alarm.")),
      drift_alpha(
          gauges(registry, "kvalign_drift_alpha", "Chance of a false alarm in a round, at most.")) {
  gauges(registry, "kvalign_build_info", "1; the version is in the label.")
      .Add({{"version", KVALIGN_VERSION}})
      .Set(1);
}

ModelMetrics::ModelMetrics(Metrics& metrics, const std::string& model)
    : cache_tokens(metrics.cache_tokens.Add({{"model", model}})),
      generated_tokens(metrics.generated_tokens.Add({{"model", model}})),
      received_bytes(metrics.received_bytes.Add({{"model", model}})),
      sent_bytes(metrics.sent_bytes.Add({{"model", model}})),
      elements(metrics.elements.Add({{"model", model}})),
      saturated(metrics.saturated.Add({{"model", model}})),
      certified_wire_error(metrics.certified_wire_error.Add({{"model", model}}, error_buckets())),
      certified_error(metrics.certified_error.Add({{"model", model}}, error_buckets())),
      measured_error(metrics.measured_error.Add({{"model", model}}, error_buckets())),
      undefined_certified_wire(
          metrics.undefined_errors.Add({{"model", model}, {"kind", "certified_wire"}})),
      undefined_certified(metrics.undefined_errors.Add({{"model", model}, {"kind", "certified"}})),
      undefined_measured(metrics.undefined_errors.Add({{"model", model}, {"kind", "measured"}})),
      reloads(metrics.reloads.Add({{"model", model}, {"result", "succeeded"}})),
      failed_reloads(metrics.reloads.Add({{"model", model}, {"result", "failed"}})) {}

DriftMetrics::DriftMetrics(Metrics& metrics, const std::string& model)
    : rank(metrics.drift_rank.Add({{"model", model}}, rank_buckets())),
      martingale(metrics.drift_martingale.Add({{"model", model}})),
      p_value(metrics.drift_p_value.Add({{"model", model}})),
      alarm(metrics.drift_alarm.Add({{"model", model}})),
      alarms(metrics.drift_alarms.Add({{"model", model}})),
      alpha(metrics.drift_alpha.Add({{"model", model}})) {}

const prometheus::Histogram::BucketBoundaries& second_buckets() {
  static const prometheus::Histogram::BucketBoundaries kBuckets = {
      1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025,
      0.05, 0.1,    0.25, 0.5,  1,      2.5,  5,    10,     25,   60};
  return kBuckets;
}

const prometheus::Histogram::BucketBoundaries& error_buckets() {
  static const prometheus::Histogram::BucketBoundaries kBuckets = {
      0.005, 0.01, 0.02, 0.0265, 0.04, 0.0625, 0.09, 0.125, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2};
  return kBuckets;
}

const prometheus::Histogram::BucketBoundaries& rank_buckets() {
  static const prometheus::Histogram::BucketBoundaries kBuckets = {
      0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1};
  return kBuckets;
}

}  // namespace kvalign
