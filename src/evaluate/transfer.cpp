// The steps of each way, and their times. See transfer.h.
#include "kvalign/evaluate/transfer.h"

#include <cmath>
#include <stdexcept>

namespace kvalign {
namespace {

std::string tokens_text(const char* what, int64_t tokens) {
  return std::string(what) + " of " + std::to_string(tokens) + (tokens == 1 ? " token" : " tokens");
}

double text_bytes(const Prompt& prompt, int64_t tokens) {
  return prompt.text_bytes_per_token * static_cast<double>(tokens);
}

// What the receiver does after the cache is there: it reads what is re-read and the last token.
Work first_token(const ModelPair& pair, const Prompt& prompt, const std::string& dtype) {
  return decoder_work(pair.receiver,
                      {.cached = prompt.tokens - 1 - prompt.reread, .tokens = prompt.reread + 1},
                      dtype, tokens_text("reading", prompt.reread + 1));
}

void add_sender_steps(Transfer& transfer, const ModelPair& pair, const Prompt& prompt,
                      const CostSetting& setting) {
  if (setting.warm) return;
  const auto tokens = static_cast<int64_t>(
      std::ceil(static_cast<double>(prompt.tokens) * prompt.sender_tokens_per_token));
  transfer.sender_steps.push_back(decoder_work(pair.sender, {.tokens = tokens, .logits = 0},
                                               setting.dtype, tokens_text("prefill", tokens)));
}

}  // namespace

void CostOptions::describe(OptionVisitor& visitor) {
  visitor.field(
      {"sender_target", "file of the sender's device (configs/targets); empty: no estimate"},
      sender_target);
  visitor.field({"receiver_target", "file of the receiver's device"}, receiver_target);
  visitor.field({.name = "link_bits_per_second",
                 .help = "of the network from sender to receiver",
                 .minimum = 0,
                 .exclusive_minimum = true},
                link_bits_per_second);
  visitor.field({"link_latency_seconds", "before the first byte arrives", 0}, link_latency_seconds);
  visitor.field({.name = "sender",
                 .help = "warm: the sender has read the prompt already; cold: it reads it first",
                 .one_of = {"warm", "cold"}},
                sender);
  visitor.field({.name = "dtype",
                 .help = "type of weights and caches in the memory of both devices",
                 .one_of = {"float32", "float16", "bfloat16", "float8"}},
                dtype);
}

CostSetting read_cost_setting(const CostOptions& options) {
  if (options.sender_target.empty() || options.receiver_target.empty()) {
    throw std::invalid_argument("cost: expected the files of two targets, got sender_target '" +
                                options.sender_target + "' and receiver_target '" +
                                options.receiver_target + "'. configs/targets has some.");
  }
  return {.sender = read_target(options.sender_target),
          .receiver = read_target(options.receiver_target),
          .link_bits_per_second = options.link_bits_per_second,
          .link_latency_seconds = options.link_latency_seconds,
          .warm = options.sender == "warm",
          .dtype = options.dtype};
}

Transfer text_transfer(const ModelPair& pair, const Prompt& prompt, const CostSetting& setting) {
  return {.name = "text",
          .text = "the text is sent, and the receiver reads it",
          .receiver_steps = {decoder_work(pair.receiver, {.tokens = prompt.tokens}, setting.dtype,
                                          tokens_text("prefill", prompt.tokens))},
          .bytes = text_bytes(prompt, prompt.tokens)};
}

Transfer cache_transfer(const ModelPair& pair, const Prompt& prompt, const CostSetting& setting,
                        const ProjectorSize& projector, const CacheWire& wire) {
  const int64_t projected = prompt.tokens - 1 - prompt.reread - prompt.sinks;
  if (projected < 1) {
    throw std::invalid_argument(
        "cache_transfer: expected a prompt with more tokens than sinks, re-read tokens and the "
        "last one, got " +
        std::to_string(prompt.tokens) + " with " + std::to_string(prompt.sinks) + " sinks and " +
        std::to_string(prompt.reread) + " re-read");
  }
  const double sent = static_cast<double>(projected) * prompt.sender_tokens_per_token;
  const double wire_bytes = sent * wire.bytes_per_token + wire.bytes_once;
  const double numbers = sent * static_cast<double>(cache_elements(pair.sender.geometry));
  const double bytes = element_bytes(setting.dtype);
  Transfer transfer{.bytes = wire_bytes + text_bytes(prompt, prompt.sinks + prompt.reread + 1)};
  add_sender_steps(transfer, pair, prompt, setting);
  const ProjectionWork work =
      projection_work(projector, static_cast<double>(projected), setting.dtype);
  if (!work.encode.step.empty()) transfer.sender_steps.push_back(work.encode);
  if (wire.fp8) {
    transfer.sender_steps.push_back(conversion_work(numbers, bytes, wire_bytes, "FP8 encoding"));
    transfer.receiver_steps.push_back(conversion_work(numbers, bytes, wire_bytes, "FP8 decoding"));
  }
  transfer.receiver_steps.push_back(work.decode);
  if (prompt.sinks > 0) {
    transfer.receiver_steps.push_back(decoder_work(pair.receiver,
                                                   {.tokens = prompt.sinks, .logits = 0},
                                                   setting.dtype, "prefill of the sinks"));
  }
  transfer.receiver_steps.push_back(first_token(pair, prompt, setting.dtype));
  return transfer;
}

TransferEstimate estimate(const Transfer& transfer, const CostSetting& setting) {
  TransferEstimate result{.name = transfer.name, .text = transfer.text};
  for (const Work& work : transfer.sender_steps) {
    result.steps.push_back({"sender", work, roofline(work, setting.sender, setting.dtype)});
    result.flops_sender += work.flops;
    result.seconds_sender += result.steps.back().time.seconds();
  }
  for (const Work& work : transfer.receiver_steps) {
    result.steps.push_back({"receiver", work, roofline(work, setting.receiver, setting.dtype)});
    result.flops_receiver += work.flops;
    result.seconds_receiver += result.steps.back().time.seconds();
  }
  if (transfer.uses_link) {
    result.bytes_sent = transfer.bytes;
    result.seconds_link =
        setting.link_latency_seconds + 8 * transfer.bytes / setting.link_bits_per_second;
  }
  result.power_limit_times_seconds = setting.sender.power_limit.watts * result.seconds_sender +
                                     setting.receiver.power_limit.watts * result.seconds_receiver;
  return result;
}

}  // namespace kvalign
