// What the ladder's rows would cost on other devices: those that send a sender's cache or latents,
// the text, and the way back. Left out are rows of another document, rows that send nothing, and
// the true cache, which no sender has. See ladder.h.
#include "kvalign/evaluate/ladder.h"
#include "ladder_rows.h"
#include "ladder_setup.h"

namespace kvalign {
namespace {

// Tokens of the sender for one of the receiver, over all texts.
double sender_tokens_per_token(const LadderSetup& setup) {
  double tokens = 0;
  for (const LadderText& text : setup.texts) tokens += static_cast<double>(text.sender_prefix);
  return tokens / static_cast<double>(setup.texts.size() * setup.options.prefix_tokens);
}

// Bytes as they were counted on the texts, which holds for scales and re-read tokens too.
double bytes_of(const LadderSetup& setup, const LadderRow& row) {
  return row.bytes_per_token * static_cast<double>(setup.options.prefix_tokens);
}

// The receiver has read the prompt and compresses its cache; the sender reads its own sinks and the
// last token.
Transfer transfer_to_sender(const ModelPair& pair, const Prompt& prompt, const CostSetting& setting,
                            const Projector& compress) {
  const ProjectorShape& shape = compress.shape();
  const ProjectorSize size{.kind = "bidirectional",
                           .num_groups = shape.num_groups,
                           .num_features = shape.num_features,
                           .num_streams = shape.num_streams,
                           .width = shape.width + 1,  // and the weight of the token
                           .sender_width = cache_elements(pair.receiver.geometry)};
  const auto compressed = static_cast<double>(prompt.tokens - 1 - prompt.sinks);
  Transfer transfer;
  transfer.receiver_steps.push_back(projection_work(size, compressed, setting.dtype).decode);
  if (prompt.sinks > 0) {
    transfer.sender_steps.push_back(decoder_work(pair.sender, {.tokens = prompt.sinks, .logits = 0},
                                                 setting.dtype, "prefill of the sinks"));
  }
  transfer.sender_steps.push_back(decoder_work(pair.sender,
                                               {.cached = prompt.tokens - 1, .tokens = 1},
                                               setting.dtype, "reading of 1 token"));
  return transfer;
}

}  // namespace

CostReport Ladder::estimate_cost(const CostOptions& options, const LadderReport& report) const {
  const LadderSetup& setup = *setup_;
  CostReport cost{.setting = read_cost_setting(options),
                  .prompt_tokens = setup.options.prefix_tokens};
  const ModelPair pair{setup.sender.config(), setup.receiver.config()};
  const std::vector<LadderRowPlan> plans = plan_ladder_rows(setup.options, setup.projectors);
  for (size_t i = 0; i < plans.size(); ++i) {
    const LadderRowPlan& plan = plans[i];
    const Prompt prompt{.tokens = setup.options.prefix_tokens,
                        .sinks = plan.info.sinks,
                        .reread = plan.info.reread,
                        .sender_tokens_per_token = sender_tokens_per_token(setup)};
    Transfer transfer;
    if (plan.source == CacheSource::kText) {
      transfer = text_transfer(pair, prompt, cost.setting);
    } else if (plan.source == CacheSource::kProjected && !plan.info.wire.empty()) {
      const Row& row = setup.projectors[plan.projector];
      transfer = cache_transfer(pair, prompt, cost.setting, row.size,
                                {.fp8 = row.fp8_wire.has_value(),
                                 .bytes_per_token = static_cast<double>(row.wire_bytes_per_token),
                                 .bytes_once = static_cast<double>(row.wire_bytes_once)});
    } else if (plan.source == CacheSource::kToSender) {
      const KvProjector& projector = *setup.projectors[plan.projector].projector;
      transfer = transfer_to_sender(pair, prompt, cost.setting, *projector.receiver_part());
    } else {
      continue;
    }
    transfer.name = plan.info.row;
    transfer.text = plan.info.text;
    transfer.bytes = bytes_of(setup, report.rows[i]);
    cost.rows.push_back(estimate(transfer, cost.setting));
  }
  return cost;
}

}  // namespace kvalign
