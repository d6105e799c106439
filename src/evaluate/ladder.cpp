// Climbs: gates, times, texts one after another, figures. See ladder.h.
#include "kvalign/evaluate/ladder.h"

#include <ATen/ATen.h>
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "kvalign/core/options_json.h"
#include "kvalign/core/sha256.h"
#include "ladder_sequence.h"
#include "ladder_store.h"

namespace kvalign {
namespace {

// To be raised when rows are computed in another way: older ladder.jsonl files then start anew.
constexpr int kLadderVersion = 2;

// Config, and which weights by their size and age: reading gigabytes for a hash would take longer
// than a text does.
nlohmann::json describe_model(const std::filesystem::path& folder) {
  nlohmann::json files = nlohmann::json::object();
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    files[entry.path().filename().string()] = {entry.file_size(),
                                               entry.last_write_time().time_since_epoch().count()};
  }
  return {{"config", sha256_of_file((folder / "config.json").string())}, {"weights", files}};
}

// SHA-256 of what decides the scores of every row; how many texts there are does not.
std::string hash_of(const LadderSetup& setup) {
  nlohmann::json options = options_to_json(setup.options);
  for (const char* key : {"sequences", "gate_tokens", "tokens", "sender", "receiver", "grid",
                          "reread", "sinks", "judge"}) {
    options.erase(key);
  }
  const nlohmann::json all = {{"version", kLadderVersion},
                              {"options", options},
                              {"tokens", setup.tokens_sha256},
                              {"dataset", setup.dataset->sha256()},
                              {"split", setup.split.sha256},
                              {"sender", describe_model(setup.sender.folder())},
                              {"receiver", describe_model(setup.receiver.folder())},
                              {"seed", setup.evaluate.seed},
                              {"device", setup.device.str()}};
  return sha256_hex(all.dump());
}

// What decides the scores of one row: "V1 + sinks, sinks 4, reread 0, of 0f3a...". A row that
// projects has the weights' SHA-256 in it.
std::vector<std::string> keys_of(const LadderSetup& setup,
                                 const std::vector<LadderRowPlan>& plans) {
  std::vector<std::string> projectors, keys;
  for (const Row& row : setup.projectors) {
    projectors.push_back(row.checkpoint.empty() ? row.name : sha256_of_file(row.checkpoint));
    if (row.rank > 0) projectors.back() += " rank " + std::to_string(row.rank);
    if (row.fp8_wire) projectors.back() += " through " + row.wire;
  }
  for (const LadderRowPlan& plan : plans) {
    std::string key =
        c10::str(plan.info.row, ", sinks ", plan.info.sinks, ", reread ", plan.info.reread);
    if (is_projected(plan.source) || is_compressed(plan.source))
      key += ", of " + projectors[plan.projector];
    keys.push_back(std::move(key));
  }
  return keys;
}

// Those of `all` at `places`.
template <class Value>
std::vector<Value> choose(const std::vector<Value>& all, const std::vector<size_t>& places) {
  std::vector<Value> chosen;
  for (const size_t place : places) chosen.push_back(all[place]);
  return chosen;
}

LadderReport describe(const LadderSetup& setup) {
  return {.tokens = setup.options.tokens,
          .tokens_sha256 = setup.tokens_sha256,
          .sender = setup.sender.geometry().model,
          .receiver = setup.receiver.geometry().model,
          .one_tokenizer = setup.one_tokenizer,
          .prefix_tokens = setup.options.prefix_tokens,
          .continuation_tokens = setup.options.continuation_tokens,
          .first_tokens = std::min(kFirstTokens, setup.options.continuation_tokens),
          .left_out_seen = setup.left_out_seen,
          .left_out_short = setup.left_out_short,
          .warnings = setup.warnings};
}

// Mean |nll(true cache) - nll(text)| of a token above which something other than the wire's
// rounding is at work. That rounding makes 0.0008 (float16) and 0.009 (bfloat16) nats on
// Qwen2.5-Coder-0.5B, whose keys reach 216: 128 + 32 tokens of three texts of WikiText-2.
double max_ceiling_difference(const std::string& wire) {
  if (wire == "float32") return 1e-3;
  return wire == "float16" ? 0.01 : 0.05;
}

std::vector<LadderRowInfo> infos_of(const std::vector<LadderRowPlan>& plans) {
  std::vector<LadderRowInfo> infos;
  for (const LadderRowPlan& plan : plans) infos.push_back(plan.info);
  return infos;
}

StatisticsOptions statistics_options(const LadderSetup& setup, size_t judged) {
  return {.prefix_tokens = setup.options.prefix_tokens,
          .first_tokens = kFirstTokens,
          .one_tokenizer = setup.one_tokenizer,
          .bootstrap_resamples = setup.evaluate.bootstrap_resamples,
          .seed = static_cast<uint64_t>(setup.evaluate.seed),
          .judged_row = judged,
          .max_ceiling_difference = max_ceiling_difference(setup.options.wire)};
}

std::vector<at::Tensor> tokens_of(const LadderSetup& setup, at::Tensor LadderText::*side) {
  std::vector<at::Tensor> tokens;
  for (const LadderText& text : setup.texts) tokens.push_back(text.*side);
  return tokens;
}

// The first two held-out sequences of the dataset.
std::vector<int64_t> probes(const Split& split) {
  const size_t count = std::min<size_t>(2, split.test.size());
  return {split.test.begin(), split.test.begin() + count};
}

}  // namespace

Ladder::Ladder(std::unique_ptr<const LadderSetup> setup) : setup_(std::move(setup)) {}
Ladder::~Ladder() = default;
Ladder::Ladder(Ladder&&) noexcept = default;

Ladder Ladder::open(const Recipe& recipe, const EvaluateOptions& evaluate,
                    const LadderOptions& options, const EvaluateProgress& progress) {
  return Ladder(set_up_ladder(recipe, evaluate, options, progress));
}

std::vector<GateResult> Ladder::check_identity(const CacheTransport& transport,
                                               const EvaluateProgress& progress) const {
  const LadderSetup& setup = *setup_;
  std::vector<GateResult> results;
  const auto add = [&](GateResult result) {
    results.push_back(std::move(result));
    if (progress) progress("identity gate", static_cast<int64_t>(results.size()), 4);
  };
  const auto check = [&](const Decoder& decoder, const char* side, at::Tensor LadderText::*tokens) {
    add(check_own_cache(
        decoder, tokens_of(setup, tokens),
        {.side = side, .min_tokens = setup.options.gate_tokens, .transport = transport}));
    add(check_captured_caches(decoder, *setup.dataset, probes(setup.split), side));
  };
  check(setup.receiver, "receiver", &LadderText::receiver_tokens);
  check(setup.sender, "sender", &LadderText::sender_tokens);
  return results;
}

LadderReport Ladder::climb(const LadderHooks& hooks) const {
  const LadderSetup& setup = *setup_;
  LadderReport report = describe(setup);
  const std::vector<LadderRowPlan> plans = plan_ladder_rows(setup.options, setup.projectors);
  const size_t judged = judged_row(setup.options, setup.projectors, plans);
  const std::vector<std::string> keys = keys_of(setup, plans);
  LadderStore store(setup.evaluate.output, hash_of(setup));
  SenderCaches senders(setup);
  if (!store.times(keys)) store.add(measure_times(setup, plans, senders), keys);
  std::vector<SequenceScores> scores;
  for (size_t text = 0; text < setup.texts.size(); ++text) {
    const int64_t sequence = setup.texts[text].number;
    const std::vector<size_t> missing = store.missing(sequence, keys);
    if (!missing.empty()) {
      if (hooks.stop_requested && hooks.stop_requested()) {
        report.interrupted = true;
        return report;
      }
      store.add(score_text(setup, choose(plans, missing), senders, hooks.transport, text),
                choose(keys, missing));
    }
    senders.forget(text + 1);
    scores.push_back(store.scores(sequence, keys));
    if (hooks.progress) {
      hooks.progress("ladder", static_cast<int64_t>(text) + 1,
                     static_cast<int64_t>(setup.texts.size()));
    }
  }
  fill_statistics(infos_of(plans), scores, statistics_options(setup, judged), report);
  const LadderTimes times = *store.times(keys);
  for (size_t row = 0; row < plans.size(); ++row) {
    report.rows[row].milliseconds = times.rows[row].milliseconds;
    report.rows[row].joules = times.rows[row].joules;
  }
  report.energy_source = times.energy_source;
  report.sender_prefill_ms = times.sender_prefill_ms;
  report.timed_sequences = times.num_texts;
  return report;
}

}  // namespace kvalign
