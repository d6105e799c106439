// See transfer_report.h.
#include "transfer_report.h"

#include <nlohmann/json.hpp>

#include "json_number.h"
#include "number_text.h"

namespace kvalign {
namespace {

using nlohmann::json;

constexpr const char* kNoEnergy = "not measured";

std::string computes_in(const Target& target, const std::string& dtype) {
  const std::string used = compute_type(target, dtype).dtype;
  if (used == dtype) return target.name + " computes in " + dtype;
  return target.name + " has no arithmetic in " + dtype + " and computes in " + used;
}

}  // namespace

json to_json(const TransferEstimate& estimate) {
  return {{"row", estimate.name},
          {"text", estimate.text},
          {"flops_sender", number(estimate.flops_sender)},
          {"flops_receiver", number(estimate.flops_receiver)},
          {"bytes_sent", number(estimate.bytes_sent)},
          {"seconds_sender", number(estimate.seconds_sender)},
          {"seconds_link", number(estimate.seconds_link)},
          {"seconds_receiver", number(estimate.seconds_receiver)},
          {"seconds_total", number(estimate.seconds_total())},
          {"energy", kNoEnergy},
          {"power_limit_times_seconds", number(estimate.power_limit_times_seconds)}};
}

json steps_to_json(const TransferEstimate& estimate) {
  json steps = json::array();
  for (const StepEstimate& step : estimate.steps) {
    steps.push_back({{"row", estimate.name},
                     {"side", step.side},
                     {"step", step.work.step},
                     {"flops", number(step.work.flops)},
                     {"parameters", number(step.work.parameters)},
                     {"bytes", number(step.work.bytes())},
                     {"seconds", number(step.time.seconds())},
                     {"bound_by", step.time.bound_by()},
                     {"dtype", step.time.dtype}});
  }
  return steps;
}

json to_json(const CostSetting& setting) {
  return {{"sender_target", setting.sender.name},
          {"receiver_target", setting.receiver.name},
          {"link",
           {{"bits_per_second", setting.link_bits_per_second},
            {"latency_seconds", setting.link_latency_seconds}}},
          {"sender_is", setting.warm ? "warm" : "cold"},
          {"dtype", setting.dtype}};
}

std::vector<std::string> estimate_header() {
  return {"row",
          "estimate: sender FLOP",
          "estimate: receiver FLOP",
          "estimate: sent",
          "estimate: sender",
          "estimate: link",
          "estimate: receiver",
          "estimate: total",
          "energy",
          "power limit x roofline time"};
}

std::vector<std::string> estimate_cells(const TransferEstimate& estimate) {
  return {estimate.name,
          with_prefix(estimate.flops_sender, ""),
          with_prefix(estimate.flops_receiver, ""),
          with_prefix(estimate.bytes_sent, "B"),
          with_prefix(estimate.seconds_sender, "s"),
          with_prefix(estimate.seconds_link, "s"),
          with_prefix(estimate.seconds_receiver, "s"),
          with_prefix(estimate.seconds_total(), "s"),
          kNoEnergy,
          with_prefix(estimate.power_limit_times_seconds, "W s")};
}

std::string estimate_notes(const CostSetting& setting) {
  return "Estimates by the roofline model, nothing measured: each step takes the longer of its "
         "operations at the device's peak and its bytes at its memory's bandwidth; sender, link "
         "and receiver follow one another. A step cannot be faster; a server that overlaps steps "
         "can "
         "be faster than their sum.\n"
         "Sender: " +
         setting.sender.name + ", " +
         (setting.warm ? "warm (it has read the prompt)" : "cold (it reads the prompt first)") +
         ". Receiver: " + setting.receiver.name +
         ". Link: " + with_prefix(setting.link_bits_per_second, "bit/s") + ", " +
         with_prefix(setting.link_latency_seconds, "s") + " of latency.\n" +
         "Weights and caches are " + setting.dtype + " in memory; " +
         computes_in(setting.sender, setting.dtype) + ", " +
         computes_in(setting.receiver, setting.dtype) +
         ".\n"
         "Energy is not measured: no counter sees a device that is not here. Power limit x "
         "roofline "
         "time is neither energy nor a bound of it.\n";
}

}  // namespace kvalign
