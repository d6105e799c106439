// Ways to let a receiver continue from a prompt that a sender has: the text, the sender's cache, or
// latents of it. Each is a list of steps on either side and a number of bytes; the roofline model
// and a link turn it into the time to the first token. All times are estimates: each step's is a
// lower limit, at the device's peak; that nothing overlaps is an assumption. Free of LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/evaluate/cost.h"
#include "kvalign/evaluate/roofline.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// The recipe's `cost` section.
struct KVALIGN_API CostOptions {
  std::string sender_target, receiver_target;  ///< files of targets; both empty: no estimate
  double link_bits_per_second = 1e8;
  double link_latency_seconds = 0.02;
  std::string sender = "warm";
  std::string dtype = "float16";

  void describe(OptionVisitor& visitor);
};

/// Where the transfers of one estimate happen.
struct CostSetting {
  Target sender = {}, receiver = {};
  double link_bits_per_second = 0;
  double link_latency_seconds = 0;
  bool warm = true;        ///< the sender has read the prompt already
  std::string dtype = {};  ///< of weights and caches in memory, on both sides
};

/// Reads both targets. Throws std::invalid_argument where one is not named, and as read_target.
KVALIGN_API CostSetting read_cost_setting(const CostOptions& options);

struct ModelPair {
  DecoderConfig sender = {}, receiver = {};
};

/// Of `tokens` receiver tokens the first `sinks` and the last `reread` + 1 travel as text, and the
/// receiver computes their part of the cache itself; all others are projected.
struct Prompt {
  int64_t tokens = 0;
  int64_t sinks = 0;
  int64_t reread = 0;
  double sender_tokens_per_token = 1;  ///< where the tokenisers differ
  double text_bytes_per_token = 0;
};

/// What crosses the network in place of text.
struct CacheWire {
  bool fp8 = false;  ///< the cache is coded and decoded; a latent is born in its type
  double bytes_per_token = 0;
  double bytes_once = 0;  ///< scales that all tokens share
};

struct Transfer {
  std::string name = {}, text = {};
  std::vector<Work> sender_steps = {}, receiver_steps = {};
  double bytes = 0;
  bool uses_link = true;
};

/// The receiver reads the whole prompt; the sender has no part in it. Throws std::invalid_argument
/// for a prompt without tokens.
KVALIGN_API Transfer text_transfer(const ModelPair& pair, const Prompt& prompt,
                                   const CostSetting& setting);

/// The sender's cache or a low_rank projector's latents of it are sent and projected; where the
/// sender is cold, its prefill comes first. Throws std::invalid_argument for a prompt that leaves
/// nothing to project.
KVALIGN_API Transfer cache_transfer(const ModelPair& pair, const Prompt& prompt,
                                    const CostSetting& setting, const ProjectorSize& projector,
                                    const CacheWire& wire);

struct StepEstimate {
  std::string side = {};  ///< "sender" or "receiver"
  Work work = {};
  Roofline time = {};
};

struct KVALIGN_API TransferEstimate {
  std::string name = {}, text = {};
  double flops_sender = 0, flops_receiver = 0;
  double bytes_sent = 0;
  double seconds_sender = 0, seconds_link = 0, seconds_receiver = 0;
  /// Each device's power limit times its roofline time, in watt seconds: neither a measurement nor
  /// a bound, since devices draw less than their limit and take longer than the roofline.
  double power_limit_times_seconds = 0;
  std::vector<StepEstimate> steps = {};

  double seconds_total() const { return seconds_sender + seconds_link + seconds_receiver; }
};

KVALIGN_API TransferEstimate estimate(const Transfer& transfer, const CostSetting& setting);

}  // namespace kvalign
