// See stopwatch.h.
#include "stopwatch.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>

namespace kvalign::benchmark {
namespace {

double seconds_on_cpu(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double seconds_on_device(at::Device device, const std::function<void()>& work) {
  const c10::impl::VirtualGuardImpl guard(device.type());
  const c10::Stream stream = guard.getStream(device);
  c10::Event start(device.type(), c10::EventFlag::BACKEND_DEFAULT);
  c10::Event end(device.type(), c10::EventFlag::BACKEND_DEFAULT);
  start.record(stream);
  work();
  end.record(stream);
  end.synchronize();
  return 1e-3 * start.elapsedTime(end);
}

}  // namespace

Stopwatch stopwatch_of(at::Device device) {
  if (device.is_cpu()) return seconds_on_cpu;
  return [device](const std::function<void()>& work) { return seconds_on_device(device, work); };
}

}  // namespace kvalign::benchmark
