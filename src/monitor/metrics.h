// The metrics: every name, what it means, and its buckets. Names and units are by Prometheus'
// conventions (https://prometheus.io/docs/practices/naming/). Private to monitor/.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>

namespace kvalign {

// References into `registry`; labels are in metrics.cpp's help texts.
struct Metrics {
  Metrics();

  template <class Metric>
  using Family = prometheus::Family<Metric>;
  using Counter = prometheus::Counter;
  using Gauge = prometheus::Gauge;
  using Histogram = prometheus::Histogram;

  prometheus::Registry registry;
  Gauge& ready;
  Gauge& in_flight;
  Gauge& queue_depth;
  Gauge& queue_capacity;
  Family<Counter>& requests;
  Family<Histogram>& request_seconds;
  Family<Histogram>& phase_seconds;
  Family<Counter>& cache_tokens;
  Family<Counter>& generated_tokens;
  Family<Counter>& received_bytes;
  Family<Counter>& sent_bytes;
  Family<Counter>& elements;
  Family<Counter>& saturated;
  Family<Histogram>& certified_wire_error;
  Family<Histogram>& certified_error;
  Family<Histogram>& measured_error;
  Family<Counter>& undefined_errors;
  Family<Counter>& reloads;
  Family<Histogram>& drift_rank;
  Family<Gauge>& drift_martingale;
  Family<Gauge>& drift_p_value;
  Family<Gauge>& drift_alarm;
  Family<Counter>& drift_alarms;
  Family<Gauge>& drift_alpha;
};

// What one model has of each family, looked up once: a request finds them without building labels.
struct ModelMetrics {
  ModelMetrics(Metrics& metrics, const std::string& model);

  Metrics::Counter& cache_tokens;
  Metrics::Counter& generated_tokens;
  Metrics::Counter& received_bytes;
  Metrics::Counter& sent_bytes;
  Metrics::Counter& elements;
  Metrics::Counter& saturated;
  Metrics::Histogram& certified_wire_error;
  Metrics::Histogram& certified_error;
  Metrics::Histogram& measured_error;
  Metrics::Counter& undefined_certified_wire;
  Metrics::Counter& undefined_certified;
  Metrics::Counter& undefined_measured;
  Metrics::Counter& reloads;
  Metrics::Counter& failed_reloads;
};

// The same of a model whose drift is watched: without a test there is nothing to show.
struct DriftMetrics {
  DriftMetrics(Metrics& metrics, const std::string& model);

  Metrics::Histogram& rank;
  Metrics::Gauge& martingale;
  Metrics::Gauge& p_value;
  Metrics::Gauge& alarm;
  Metrics::Counter& alarms;
  Metrics::Gauge& alpha;
};

// Buckets of times, in seconds: 10 µs, which a guard takes, to a minute, which a long generation
// takes, 1, 2.5 and 5 a decade: a percentile that is read from them is off by a factor of 1.6 at
// most (half a bucket). Limits that matter are edges: 1 ms, 100 ms, 1 s.
const prometheus::Histogram::BucketBoundaries& second_buckets();

// Buckets of relative errors. E4M3 rounds a number by 1/16 at most and by 0.0265 on average; 1 is
// what a cache of zeros would have.
const prometheus::Histogram::BucketBoundaries& error_buckets();

// Buckets of p-values: a tenth each, and the tails, where drift shows.
const prometheus::Histogram::BucketBoundaries& rank_buckets();

}  // namespace kvalign
