// Times passes of the shapes that rows are made of; which cache they read makes no difference. See
// ladder_times.h.
#include "ladder_times.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <tuple>

#include "kvalign/evaluate/energy_meter.h"

namespace kvalign {
namespace {

constexpr size_t kTimedTexts = 3;

// Reading an element waits for a GPU; the first one, whatever the layout.
void wait_for(const at::Tensor& tensor) {
  tensor.as_strided({}, {}).item<float>();
}

// A step of one row and one text.
struct Step {
  double milliseconds = kUndefined;
  double joules = kUndefined;
};

Step operator+(const Step& a, const Step& b) {
  return {a.milliseconds + b.milliseconds, a.joules + b.joules};
}

Step run(EnergyMeter& meter, const std::function<at::Tensor()>& work) {
  const MeasuredWork measured = measure(meter, [&] { wait_for(work()); });
  return {1e3 * measured.seconds, measured.joules};
}

struct RowSteps {
  Step prefill = {}, project = {}, continuation = {};
};

// A step that a row lacks, or whose energy is not measured, is NaN.
double median(std::vector<double> values) {
  if (std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); })) {
    return kUndefined;
  }
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Passes of one model over one text; each shape is measured once.
class PassTimer {
 public:
  PassTimer(const Decoder& decoder, const at::Tensor& tokens, EnergyMeter& meter)
      : decoder_(decoder), meter_(meter), tokens_1T_(tokens.to(decoder.device()).unsqueeze(0)) {
    whole_ = decoder.forward({.token_ids_BT = tokens_1T_, .num_logits = 0}).cache;
  }

  // Consumes `count` tokens after a cache of `cached`: a prefill, which keeps the cache.
  Step prefill(int64_t cached, int64_t count) {
    return count == 0 ? Step{0, meter_.measures() ? 0 : kUndefined} : time(cached, count, 0);
  }

  // Predicts after each of `count` tokens.
  Step predict(int64_t cached, int64_t count) { return time(cached, count, count); }

  // The cache of all its tokens, [S, T, d].
  at::Tensor streams() const { return whole_->streams(); }

 private:
  Step time(int64_t cached, int64_t count, int64_t num_logits) {
    const auto key = std::tuple(cached, count, num_logits);
    const auto found = steps_.find(key);
    if (found != steps_.end()) return found->second;
    DecoderInput input{.token_ids_BT = tokens_1T_.narrow(1, cached, count),
                       .num_logits = num_logits,
                       .with_cache = num_logits == 0};
    if (cached > 0) input.cache = whole_->slice(0, cached);
    return steps_[key] = run(meter_, [&] {
             const DecoderOutput output = decoder_.forward(input);
             return num_logits > 0 ? output.logits_BTV
                                   : output.cache->values(output.cache->geometry().num_layers - 1);
           });
  }

  const Decoder& decoder_;
  EnergyMeter& meter_;
  at::Tensor tokens_1T_;
  std::optional<KvCache> whole_;
  std::map<std::tuple<int64_t, int64_t, int64_t>, Step> steps_;
};

// The steps of one text.
class TextTimer {
 public:
  TextTimer(const LadderSetup& setup, SenderCaches& senders, EnergyMeter& meter, size_t text)
      : setup_(setup),
        meter_(meter),
        n_(setup.options.prefix_tokens),
        m_(setup.options.continuation_tokens),
        text_(setup.texts[text]),
        features_STd_(senders.features(text)),
        receiver_(setup.receiver, text_.receiver_tokens, meter),
        sender_(setup.sender, text_.sender_tokens, meter) {}

  double sender_prefill_ms() { return sender_.prefill(0, text_.sender_prefix - 1).milliseconds; }

  RowSteps measure(const LadderRowPlan& plan) {
    const int64_t sinks = plan.info.sinks, reread = plan.info.reread;
    const int64_t cached = n_ - 1 - reread;
    switch (plan.source) {
      case CacheSource::kText:
        return {.prefill = receiver_.prefill(0, n_ - 1), .continuation = after(n_ - 1)};
      case CacheSource::kTrueCache:
        return {.continuation = after(n_ - 1)};
      case CacheSource::kStart:
        return {.prefill = receiver_.prefill(0, sinks + reread),
                .continuation = after(sinks + reread)};
      case CacheSource::kNone:
        return {.continuation = after(0)};
      case CacheSource::kSenderAlone:
        return {.continuation = sender_.predict(text_.sender_prefix - 1,
                                                text_.sender_tokens.size(0) - text_.sender_prefix)};
      case CacheSource::kToSender:
      case CacheSource::kWrongToSender:
        return {.prefill = sender_.prefill(0, sinks),
                .project = compress(plan.projector, sinks),
                .continuation = sender_.predict(n_ - 1, m_)};
      case CacheSource::kSenderNoCache:
        return {.continuation = sender_.predict(0, m_)};
      case CacheSource::kProjected:
      case CacheSource::kWrongDocument:
        break;
    }
    return {.prefill = receiver_.prefill(0, sinks) + receiver_.prefill(cached, reread),
            .project = project(plan.projector),
            .continuation = after(n_ - 1)};
  }

 private:
  Step after(int64_t cached) { return receiver_.predict(cached, m_); }

  Step project(size_t projector) {
    const auto found = project_.find(projector);
    if (found != project_.end()) return found->second;
    return project_[projector] =
               run(meter_, [&] { return setup_.projectors[projector].project(features_STd_); });
  }

  Step compress(size_t projector, int64_t sinks) {
    const at::Tensor sent_RTD = receiver_.streams().narrow(1, sinks, n_ - 1 - sinks);
    return run(meter_,
               [&] { return setup_.projectors[projector].compress(sent_RTD).contiguous(); });
  }

  const LadderSetup& setup_;
  EnergyMeter& meter_;
  int64_t n_, m_;
  const LadderText& text_;
  at::Tensor features_STd_;
  PassTimer receiver_, sender_;
  std::map<size_t, Step> project_;
};

// Medians of one row's steps over the texts.
LadderRowTimes medians(const std::vector<RowSteps>& texts) {
  const auto median_of = [&](Step RowSteps::*step, double Step::*figure) {
    std::vector<double> values;
    for (const RowSteps& text : texts) values.push_back(text.*step.*figure);
    return median(values);
  };
  return {.milliseconds = {.prefill = median_of(&RowSteps::prefill, &Step::milliseconds),
                           .project = median_of(&RowSteps::project, &Step::milliseconds),
                           .continuation = median_of(&RowSteps::continuation, &Step::milliseconds)},
          .joules = {.prefill = median_of(&RowSteps::prefill, &Step::joules),
                     .project = median_of(&RowSteps::project, &Step::joules),
                     .continuation = median_of(&RowSteps::continuation, &Step::joules)}};
}

}  // namespace

LadderTimes measure_times(const LadderSetup& setup, const std::vector<LadderRowPlan>& plans,
                          SenderCaches& senders) {
  const at::NoGradGuard no_gradients;
  const size_t num_texts = std::min(kTimedTexts, setup.texts.size());
  EnergyMeter meter = EnergyMeter::open({.gpu_works = setup.device.is_cuda()});
  std::vector<std::vector<RowSteps>> rows(plans.size());
  std::vector<double> sender_prefill;
  for (size_t text = 0; text < num_texts; ++text) {
    TextTimer timer(setup, senders, meter, text);
    sender_prefill.push_back(timer.sender_prefill_ms());
    for (size_t row = 0; row < plans.size(); ++row) rows[row].push_back(timer.measure(plans[row]));
  }
  LadderTimes times{.sender_prefill_ms = median(sender_prefill),
                    .num_texts = static_cast<int64_t>(num_texts),
                    .energy_source = meter.source()};
  for (const auto& row : rows) times.rows.push_back(medians(row));
  return times;
}

}  // namespace kvalign
