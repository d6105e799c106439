// From subjects to rows. See kvalign/benchmark/case.h.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "kvalign/benchmark/case.h"

namespace kvalign::benchmark {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Sets of buffers of one case; every call of a subject takes the next one.
class BufferSets {
 public:
  BufferSets(const Case& item, int64_t count) {
    for (int64_t seed = 1; seed <= count; ++seed) {
      sets_.push_back(item.make(static_cast<uint64_t>(seed)));
    }
  }

  const std::vector<Subject>& first() const { return sets_.front(); }

  // The subject of that place, in the next set.
  std::function<std::vector<at::Tensor>()> rotating(size_t place) const {
    return [this, place, next = size_t{0}]() mutable {
      const Subject& subject = sets_[next][place];
      next = (next + 1) % sets_.size();
      return subject.run();
    };
  }

 private:
  std::vector<std::vector<Subject>> sets_;
};

// The error of a subject's first output; NaN where there is nothing to compare it with.
double checked_error(const Case& item, const Subject& subject,
                     const std::vector<at::Tensor>& output) {
  if (!subject.reference) return kNone;
  const double error = relative_error(output, subject.reference());
  const double limit =
      std::isnan(subject.error_limit) ? usual_error_limit(item.dtype) : subject.error_limit;
  TORCH_CHECK(error <= limit, item.suite, ", ", item.name, ": '", subject.name,
              "' is wrong, so nothing is timed: expected a relative error of at most ", limit,
              " against float64, got ", error);
  return error;
}

// Errors are written by the checks, in the order of the subjects.
std::vector<Variant> variants_of(const Case& item, const BufferSets& sets,
                                 std::vector<double>& errors) {
  std::vector<Variant> variants;
  for (size_t place = 0; place < sets.first().size(); ++place) {
    const Subject& subject = sets.first()[place];
    auto first_output = std::make_shared<std::vector<at::Tensor>>();
    auto is_first = std::make_shared<bool>(true);
    variants.push_back({.name = subject.name,
                        .call =
                            [run = sets.rotating(place), first_output, is_first]() mutable {
                              std::vector<at::Tensor> output = run();
                              if (*is_first) *first_output = std::move(output);
                              *is_first = false;
                            },
                        .check =
                            [&, place, first_output] {
                              errors[place] =
                                  checked_error(item, sets.first()[place], *first_output);
                              first_output->clear();
                            }});
  }
  return variants;
}

std::vector<BaselineRatio> ratios_of(const Turns& turns, size_t place,
                                     const std::vector<Subject>& subjects, double noise) {
  std::vector<BaselineRatio> ratios;
  for (size_t other = 0; other < subjects.size(); ++other) {
    if (!subjects[other].is_baseline || other == place) continue;
    const Spread ratio = ratio_of(turns.variants[place].seconds, turns.variants[other].seconds);
    ratios.push_back(
        {.baseline = subjects[other].name, .ratio = ratio, .verdict = judge(ratio, noise)});
  }
  return ratios;
}

Spread in_milliseconds(const Spread& seconds) {
  return {.median = 1e3 * seconds.median, .p10 = 1e3 * seconds.p10, .p90 = 1e3 * seconds.p90};
}

double own_or(double own, double of_case) {
  return std::isnan(own) ? of_case : own;
}

// Of what the device could do in that time.
double percent(double amount, const Spread& seconds, double most_per_second) {
  return 100 * amount / seconds.median / most_per_second;
}

std::vector<Measurement> measure(const Case& item, const Bench& bench, int64_t num_sets,
                                 bool cold) {
  const BufferSets sets(item, num_sets);
  const std::vector<Subject>& subjects = sets.first();
  std::vector<double> errors(subjects.size());
  const Turns turns = take_turns(variants_of(item, sets, errors), bench.turns, bench.stopwatch);
  const Spread noise = ratio_of(turns.again, turns.variants[0].seconds);
  std::vector<Measurement> rows;
  for (size_t place = 0; place < subjects.size(); ++place) {
    const Times& times = turns.variants[place];
    const Spread seconds = spread_of(times.seconds);
    const double flops = own_or(subjects[place].flops, item.flops);
    const double bytes = own_or(subjects[place].bytes, item.bytes);
    rows.push_back(
        {.suite = item.suite,
         .case_name = item.name,
         .variant = times.name,
         .detail = subjects[place].detail,
         .dtype = dtype_name(item.dtype),
         .device = bench.device.str(),
         .threads = bench.threads,
         .buffers = cold ? "cold" : "hot",
         .rounds = static_cast<int64_t>(times.seconds.size()),
         .repetitions = times.repetitions,
         .milliseconds = in_milliseconds(seconds),
         .first_call_ms = 1e3 * times.first_call_seconds,
         .ratios = ratios_of(turns, place, subjects, noise_factor(noise)),
         .noise = noise,
         .flops = flops,
         .bytes = bytes,
         .percent_of_peak =
             flops > 0 ? percent(flops, seconds, bench.limits.flops_per_second(item.dtype)) : kNone,
         .percent_of_copy =
             cold ? percent(bytes, seconds, bench.limits.copy_bytes_per_second) : kNone,
         .relative_error = errors[place]});
  }
  return rows;
}

}  // namespace

double relative_error(const std::vector<at::Tensor>& got,
                      const std::vector<at::Tensor>& reference) {
  TORCH_CHECK(got.size() == reference.size(), "relative_error: expected ", reference.size(),
              " tensors, got ", got.size());
  double largest = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    TORCH_CHECK(got[i].sizes() == reference[i].sizes(), "relative_error: expected a tensor of ",
                reference[i].sizes(), ", got ", got[i].sizes());
    const at::Tensor expected = reference[i].to(got[i].device(), at::kDouble);
    const at::Tensor difference = got[i].to(at::kDouble) - expected;
    const double error = (difference.norm() / expected.norm()).item<double>();
    if (std::isnan(error)) return error;
    largest = std::max(largest, error);
  }
  return largest;
}

double usual_error_limit(at::ScalarType dtype) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16,
              "usual_error_limit: expected float32 or bfloat16, got ", dtype);
  return dtype == at::kFloat ? 1e-5 : 1e-2;
}

std::vector<std::vector<Measurement>> run_case(const Case& item, const Bench& bench) {
  if (item.measure) return {item.measure(bench)};
  const double enough = 2 * static_cast<double>(bench.cache_bytes);
  const auto num_sets = static_cast<int64_t>(std::ceil(enough / item.bytes));
  if (num_sets <= 1 || !item.hot) {
    return {measure(item, bench, std::max<int64_t>(num_sets, 1), /*cold=*/true)};
  }
  return {measure(item, bench, 1, /*cold=*/false), measure(item, bench, num_sets, /*cold=*/true)};
}

}  // namespace kvalign::benchmark
