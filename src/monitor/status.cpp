// Counters, percentiles and drift as one JSON object. See status.h.
#include "status.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "kvalign/evaluate/percentiles.h"
#include "kvalign/evaluate/svg_plot.h"

namespace kvalign {
namespace {

using nlohmann::json;
using prometheus::ClientMetric;

template <class Metric>
std::vector<ClientMetric> series_of(const Metrics::Family<Metric>& family) {
  std::vector<ClientMetric> series;
  for (const prometheus::MetricFamily& part : family.Collect()) {
    series.insert(series.end(), part.metric.begin(), part.metric.end());
  }
  return series;
}

int64_t whole(double value) {
  return static_cast<int64_t>(value);
}

int64_t total_of(const Metrics::Family<Metrics::Counter>& family) {
  double total = 0;
  for (const ClientMetric& metric : series_of(family)) total += metric.counter.value;
  return whole(total);
}

// Most frequent first; equally frequent ones by their labels.
json answers(const Metrics& metrics) {
  json rows = json::array();
  for (const ClientMetric& metric : series_of(metrics.requests)) {
    json row = {{"requests", whole(metric.counter.value)}};
    for (const ClientMetric::Label& label : metric.label) row[label.name] = label.value;
    rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(), [](const json& a, const json& b) {
    const int64_t more = a.at("requests").get<int64_t>(), less = b.at("requests").get<int64_t>();
    return more != less ? more > less : a < b;
  });
  return rows;
}

json reloads(const Metrics& metrics) {
  json result = {{"succeeded", 0}, {"failed", 0}};
  for (const ClientMetric& metric : series_of(metrics.reloads)) {
    for (const ClientMetric::Label& label : metric.label) {
      if (label.name != "result") continue;
      result[label.value] = result[label.value].get<int64_t>() + whole(metric.counter.value);
    }
  }
  return result;
}

template <class Values, class Number>
json percentiles(const Values& values, Number number) {
  std::vector<double> numbers;
  for (const auto& value : values) numbers.push_back(number(value));
  json result = to_json(percentiles_of(std::move(numbers)));
  result["requests"] = values.size();
  return result;
}

PlotSeries series(const char* name, const std::deque<ErrorPoint>& points) {
  PlotSeries result{.name = name, .style = SeriesStyle::kMarkers};
  for (const ErrorPoint& point : points) {
    result.points.push_back({.x = static_cast<double>(point.request), .y = point.error});
  }
  return result;
}

bool can_show(const std::deque<ErrorPoint>& points) {
  return std::any_of(points.begin(), points.end(), [](const ErrorPoint& point) {
    return std::isfinite(point.error) && point.error > 0;
  });
}

json error_plot(const Recent& recent) {
  const auto& wire = recent.certified_wire.values();
  const auto& certified = recent.certified.values();
  const auto& measured = recent.measured.values();
  if (!can_show(wire) && !can_show(certified) && !can_show(measured)) return nullptr;
  return draw(LinePlot{.title = "Relative error of the latest requests",
                       .description =
                           "Markers for the certified errors of FP8, of what came and of what is "
                           "projected from it, and for the measured error of the projection, one "
                           "each a request, on a logarithmic axis.",
                       .x = {.title = "request"},
                       .y = {.title = "relative error", .scale = AxisScale::kLog10},
                       .series = {series("certified, as it came: by FP8, at most", wire),
                                  series("certified, projected: by FP8, at most", certified),
                                  series("measured: against the receiver's own cache", measured)}});
}

}  // namespace

json counted_status(const Metrics& metrics) {
  const auto gauge = [](const Metrics::Gauge& from) { return whole(from.Value()); };
  return {
      {"ready", metrics.ready.Value() == 1},
      {"in_flight", gauge(metrics.in_flight)},
      {"queue",
       {{"depth", gauge(metrics.queue_depth)}, {"capacity", gauge(metrics.queue_capacity)}}},
      {"requests", total_of(metrics.requests)},
      {"answers", answers(metrics)},
      {"tokens",
       {{"cache", total_of(metrics.cache_tokens)},
        {"generated", total_of(metrics.generated_tokens)}}},
      {"bytes",
       {{"received", total_of(metrics.received_bytes)}, {"sent", total_of(metrics.sent_bytes)}}},
      {"fp8",
       {{"elements", total_of(metrics.elements)}, {"saturated", total_of(metrics.saturated)}}},
      {"undefined_errors", total_of(metrics.undefined_errors)},
      {"reloads", reloads(metrics)}};
}

json recent_status(const Recent& recent) {
  json phases = json::array();
  for (const auto& [phase, seconds] : recent.seconds) {
    json row = percentiles(seconds.values(), [](double value) { return value; });
    row["phase"] = phase;
    phases.push_back(std::move(row));
  }
  const auto error = [](const ErrorPoint& point) {
    // A NaN has no rank, and what it stands for is worse than any error.
    return std::isnan(point.error) ? std::numeric_limits<double>::infinity() : point.error;
  };
  return {{"phases", phases},
          {"errors",
           {{"certified_wire", percentiles(recent.certified_wire.values(), error)},
            {"certified", percentiles(recent.certified.values(), error)},
            {"measured", percentiles(recent.measured.values(), error)},
            {"plot", error_plot(recent)}}}};
}

json drift_status(const std::vector<DriftStatus>& tests) {
  json rows = json::array();
  for (const DriftStatus& test : tests) {
    rows.push_back({{"model", test.model},
                    {"reference_scores", test.reference_scores},
                    {"alpha", test.options.alpha},
                    {"round_requests", test.options.round_requests},
                    {"requests", test.state.requests},
                    {"finished_rounds", test.state.finished_rounds},
                    {"log10_martingale", test.state.log10_martingale},
                    {"p_value", test.state.p_value()},
                    {"alarm", test.state.alarm},
                    {"alarms", test.state.alarms}});
  }
  return rows;
}

}  // namespace kvalign
