// Puts a plan together: models, projectors, prompts, curves. See plan.h.
#include "kvalign/evaluate/plan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <stdexcept>

#include "kvalign/dataset/token_file.h"
#include "kvalign/ops/fp8_wire.h"
#include "kvalign/train/checkpoint.h"
#include "ladder_setup.h"
#include "plan_text.h"
#include "projector_size.h"

namespace kvalign {
namespace {

constexpr int64_t kShortestDrawn = 16;

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("plan: " + what);
}

DecoderConfig read_model(const std::string& folder, const char* option) {
  if (!std::filesystem::exists(folder + "/config.json")) {
    refuse("expected " + std::string(option) +
           " to be a Hugging Face folder with config.json, got '" + folder +
           "'. Fetch the model, or name another folder; weights are not needed.");
  }
  return read_decoder_config(folder);
}

// One way of sending a cache: what is projected by what, and what crosses the network.
struct CacheWay {
  std::string name, text;
  ProjectorSize projector;
  CacheWire wire;
};

// All streams of the sender to all streams of the receiver.
ProjectorSize over_all_layers(const ModelPair& pair) {
  const int64_t sender_width = cache_elements(pair.sender.geometry);
  return {.num_features = sender_width,
          .num_streams = 2 * pair.receiver.geometry.num_layers,
          .width = pair.receiver.geometry.width(),
          .sender_width = sender_width};
}

std::string describe(const ProjectorSize& size, const std::string& source) {
  std::string text = size.kind;
  if (size.kind == "low_rank") text += " of rank " + std::to_string(size.rank);
  return text + " (" + source + ")";
}

class Planner {
 public:
  Planner(const CostOptions& cost, const PlanOptions& options)
      : options_(options), setting_(read_cost_setting(cost)) {
    pair_ = {read_model(options.sender, "plan.sender"),
             read_model(options.receiver, "plan.receiver")};
    plan_ = {.setting = setting_,
             .sender = pair_.sender.geometry.model,
             .receiver = pair_.receiver.geometry.model,
             .sender_parameters = num_parameters(pair_.sender),
             .receiver_parameters = num_parameters(pair_.receiver)};
    count_text_bytes();
    choose_projectors();
  }

  Plan make() {
    for (const int64_t tokens : options_.prompt_tokens)
      plan_.prompts.push_back(plan_prompt(tokens));
    draw_over_bandwidth();
    draw_over_tokens();
    return std::move(plan_);
  }

 private:
  void count_text_bytes() {
    plan_.text_bytes_per_token = options_.text_bytes_per_token;
    plan_.text_bytes_source = "plan.text_bytes_per_token";
    if (options_.tokens.empty()) return;
    const TokenFile file = read_token_file(options_.tokens);
    double bytes = 0;
    for (int64_t i = 0; i < file.num_sequences(); ++i) {
      const TokenSequence sequence = file.receiver.sequence(i);
      bytes += sequence.ends[-1].item<double>();
    }
    plan_.text_bytes_per_token = bytes / static_cast<double>(file.receiver.offsets.back());
    plan_.text_bytes_source = "the receiver's tokens of " + options_.tokens;
  }

  void choose_projectors() {
    ProjectorSize cache = over_all_layers(pair_), latent = cache;
    std::string cache_source = "over all sender layers", latent_source = cache_source;
    std::string latent_wire = options_.latent_wire;
    latent.kind = "low_rank";
    latent.rank = options_.latent_numbers;
    if (!options_.checkpoint.empty()) {
      const Checkpoint checkpoint = load_checkpoint(options_.checkpoint);
      check_model(checkpoint.projector->sender(), pair_.sender.geometry, "sender");
      check_model(checkpoint.projector->receiver(), pair_.receiver.geometry, "receiver");
      const ProjectorSize size = projector_size(*checkpoint.projector);
      const bool has_latent = size.kind == "low_rank";
      (has_latent ? latent : cache) = size;
      (has_latent ? latent_source : cache_source) = options_.checkpoint;
      if (has_latent) latent_wire = checkpoint.projector->options().latent_wire;
    }
    plan_.cache_projector = describe(cache, cache_source);
    plan_.latent_projector = describe(latent, latent_source);
    plan_.cache_projector_parameters = num_parameters(cache);
    plan_.latent_projector_parameters = num_parameters(latent);
    const KvGeometry& geometry = pair_.sender.geometry;
    const Fp8WireBytes bytes =
        fp8_wire_bytes(parse_fp8_wire(options_.cache_wire), 2 * geometry.num_layers,
                       geometry.width(), geometry.num_kv_heads);
    ways_ = {{.name = "FP8 cache",
              .text = "the sender's cache is sent as " + options_.cache_wire + " and projected",
              .projector = cache,
              .wire = {.fp8 = true,
                       .bytes_per_token = static_cast<double>(bytes.per_token),
                       .bytes_once = static_cast<double>(bytes.once)}},
             {.name = "latents",
              .text = std::to_string(latent.rank) + " numbers a token are sent as " + latent_wire +
                      " and projected",
              .projector = latent,
              .wire = {.bytes_per_token =
                           static_cast<double>(latent.rank) * latent_element_bytes(latent_wire)}}};
  }

  void check_model(const KvGeometry& projector, const KvGeometry& config, const char* side) const {
    const std::string differences = geometry_differences(projector, config);
    if (differences.empty()) return;
    refuse(options_.checkpoint + " is a projector of another " + side + " (" + projector.model +
           ") than plan." + side + ": " + differences);
  }

  static double latent_element_bytes(const std::string& wire) {
    return element_bytes(wire == "float8_e4m3fn" ? "float8" : wire);
  }

  Prompt prompt_of(int64_t tokens) const {
    return {.tokens = tokens,
            .sinks = options_.sinks,
            .text_bytes_per_token = plan_.text_bytes_per_token};
  }

  int64_t shortest_prompt() const { return options_.sinks + 2; }

  TransferEstimate text(int64_t tokens, const CostSetting& setting) const {
    return estimate(text_transfer(pair_, prompt_of(tokens), setting), setting);
  }

  TransferEstimate cache(const CacheWay& way, int64_t tokens, const CostSetting& setting) const {
    Transfer transfer = cache_transfer(pair_, prompt_of(tokens), setting, way.projector, way.wire);
    transfer.name = way.name;
    transfer.text = way.text;
    return estimate(transfer, setting);
  }

  // What the text would cost if it had not to be sent.
  TransferEstimate text_at_receiver(int64_t tokens) const {
    Transfer transfer = text_transfer(pair_, prompt_of(tokens), setting_);
    transfer.name = "text, no transfer";
    transfer.text = "the text is at the receiver already, which reads it: text with zero transfer";
    transfer.uses_link = false;
    return estimate(transfer, setting_);
  }

  PromptPlan plan_prompt(int64_t tokens) const {
    PromptPlan result{.prompt_tokens = tokens};
    const TransferEstimate sent_text = text(tokens, setting_);
    result.rows.push_back({.estimate = sent_text});
    for (const CacheWay& way : ways_) {
      const auto is_faster = [&](int64_t count) {
        return cache(way, count, setting_).seconds_total() < text(count, setting_).seconds_total();
      };
      const TransferEstimate sent = cache(way, tokens, setting_);
      result.rows.push_back(
          {.estimate = sent,
           .bandwidth = break_even_bandwidth(sent, sent_text),
           .tokens = break_even_tokens(shortest_prompt(), kLongestPrompt, is_faster)});
    }
    const auto fastest = std::min_element(
        result.rows.begin(), result.rows.end(), [](const PlanRow& a, const PlanRow& b) {
          return a.estimate.seconds_total() < b.estimate.seconds_total();
        });
    result.fastest = fastest->estimate.name;
    result.rows.push_back({.estimate = text_at_receiver(tokens)});
    result.conclusion = plan_sentence(result);
    return result;
  }

  void draw_over_bandwidth() {
    const int64_t tokens =
        *std::max_element(options_.prompt_tokens.begin(), options_.prompt_tokens.end());
    constexpr double kDecades = 4;  // around the link's bandwidth: two on either side
    constexpr int kPoints = 41;
    plan_.over_bandwidth = empty_curves();
    for (int i = 0; i < kPoints; ++i) {
      CostSetting setting = setting_;
      setting.link_bits_per_second *= std::pow(10, kDecades * (i / (kPoints - 1.0) - 0.5));
      add_point(plan_.over_bandwidth, setting.link_bits_per_second, tokens, setting);
    }
  }

  void draw_over_tokens() {
    plan_.over_tokens = empty_curves();
    for (int64_t tokens = kShortestDrawn; tokens <= kLongestPrompt / 8; tokens *= 2) {
      if (tokens < shortest_prompt()) continue;
      add_point(plan_.over_tokens, static_cast<double>(tokens), tokens, setting_);
    }
  }

  std::vector<PlanCurve> empty_curves() const {
    std::vector<PlanCurve> curves = {{.name = "text"}};
    for (const CacheWay& way : ways_) curves.push_back({.name = way.name});
    return curves;
  }

  void add_point(std::vector<PlanCurve>& curves, double x, int64_t tokens,
                 const CostSetting& setting) const {
    const auto add = [x](PlanCurve& curve, const TransferEstimate& estimate) {
      curve.x.push_back(x);
      curve.seconds.push_back(estimate.seconds_total());
    };
    add(curves[0], text(tokens, setting));
    for (size_t i = 0; i < ways_.size(); ++i) {
      add(curves[i + 1], cache(ways_[i], tokens, setting));
    }
  }

  const PlanOptions& options_;
  CostSetting setting_;
  ModelPair pair_;
  std::vector<CacheWay> ways_;
  Plan plan_;
};

}  // namespace

Plan make_plan(const CostOptions& cost, const PlanOptions& options) {
  if (options.prompt_tokens.empty()) refuse("expected at least one number in plan.prompt_tokens");
  return Planner(cost, options).make();
}

}  // namespace kvalign
