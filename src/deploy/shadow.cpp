// See shadow.h.
#include "shadow.h"

#include <ATen/ATen.h>
#include <c10/util/ParallelGuard.h>
#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <cmath>

namespace kvalign {
namespace {

RequestRecord shadow_record(const ShadowRequest& request) {
  const auto start = std::chrono::steady_clock::now();
  RequestRecord record;
  record.model = request.record.model;
  record.method = "shadow";
  record.tokens = request.record.tokens;
  record.certified_error = request.record.certified_error;
  try {
    record.measured_error = measure_error(request);
  } catch (const std::exception&) {  // ids that the receiver does not have, above all
    record.status = 400;
    record.reason = "invalid";
  }
  record.phase_seconds["shadow"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return record;
}

}  // namespace

double measure_error(const ShadowRequest& request) {
  const at::NoGradGuard no_gradients;
  const Decoder& decoder = request.model->receiver->packets.decoder();
  const int64_t tokens = request.num_sinks + request.projected_RTD.size(1);
  const DecoderOutput read = decoder.forward(
      {.token_ids_BT = request.token_ids.narrow(0, 0, tokens).unsqueeze(0).to(decoder.device()),
       .num_logits = 0});
  const at::Tensor true_RTD =
      read.cache->streams().narrow(1, request.num_sinks, request.projected_RTD.size(1));
  const auto norm_R = [](const at::Tensor& values) {
    return at::linalg_vector_norm(values.to(at::kDouble), 2, {1, 2});
  };
  return (norm_R(request.projected_RTD - true_RTD) / norm_R(true_RTD)).mean().item<double>();
}

ShadowMeter::ShadowMeter(const ShadowOptions& options)
    : options_(options), thread_([this] { loop(); }) {}

ShadowMeter::~ShadowMeter() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ShadowMeter::set_sink(std::function<void(const RequestRecord&)> sink) {
  const std::lock_guard lock(mutex_);
  sink_ = std::move(sink);
}

bool ShadowMeter::draw() {
  const std::lock_guard lock(mutex_);
  drawn_ += options_.rate;
  if (drawn_ < 1) return false;
  drawn_ -= 1;
  return true;
}

void ShadowMeter::submit(ShadowRequest request) {
  {
    const std::lock_guard lock(mutex_);
    if (static_cast<int64_t>(waiting_.size()) >= options_.queue) return;
    waiting_.push_back(std::move(request));
  }
  changed_.notify_one();
}

void ShadowMeter::loop() {
  const sched_param idle{};
  pthread_setschedparam(pthread_self(), SCHED_IDLE, &idle);
  const c10::ParallelGuard one_thread(true);
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopped_ || !waiting_.empty(); });
    if (stopped_) return;
    const ShadowRequest request = std::move(waiting_.front());
    waiting_.pop_front();
    const auto sink = sink_;
    lock.unlock();
    const RequestRecord record = shadow_record(request);
    if (sink) sink(record);
    lock.lock();
  }
}

}  // namespace kvalign
