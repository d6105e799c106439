// Which way a prompt should travel from a sender to a receiver: as text, as the sender's cache in
// FP8, or as latents. Compares estimates (transfer.h) for several prompt lengths, and says in plain
// words which is the fastest, most often that the text should be sent. Runs no model.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/evaluate/break_even.h"
#include "kvalign/evaluate/transfer.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// The recipe's `plan` section; devices and link are those of `cost`.
struct KVALIGN_API PlanOptions {
  std::string sender, receiver;  ///< Hugging Face folders, of which config.json is read
  std::string checkpoint;        ///< a projector of them; empty: one over all sender layers
  int64_t latent_numbers = 512;
  std::string latent_wire = "float8_e4m3fn";
  std::string cache_wire = "float8_e4m3fn/token";
  int64_t sinks = 4;
  std::vector<int64_t> prompt_tokens = {256, 1024, 4096, 16384};
  double text_bytes_per_token = 4;
  std::string tokens;  ///< token file that text_bytes_per_token is taken from; empty: as given
  std::string output;  ///< folder of plan.json, plan.md and the plots; empty: they are not written

  void describe(OptionVisitor& visitor);
};

struct PlanRow {
  TransferEstimate estimate = {};
  /// Against sending the text, of this prompt and on this link; the text's own are kNever.
  BreakEven bandwidth = {};  ///< bits a second
  BreakEven tokens = {};     ///< of the prompt
};

/// The ways of one prompt: text, FP8 cache, latents, and the text that is at the receiver already.
struct PromptPlan {
  int64_t prompt_tokens = 0;
  std::vector<PlanRow> rows = {};
  std::string fastest = {};     ///< name of the row, among those that send something
  std::string conclusion = {};  ///< the same in a sentence
};

/// Seconds to the first token along one axis, for a plot.
struct PlanCurve {
  std::string name = {};
  std::vector<double> x = {}, seconds = {};
};

struct Plan {
  CostSetting setting = {};
  std::string sender = {}, receiver = {};
  int64_t sender_parameters = 0, receiver_parameters = 0;
  std::string cache_projector = {}, latent_projector = {};  ///< what they are, for people
  int64_t cache_projector_parameters = 0, latent_projector_parameters = 0;
  double text_bytes_per_token = 0;
  std::string text_bytes_source = {};
  std::vector<PromptPlan> prompts = {};
  std::vector<PlanCurve> over_bandwidth = {};  ///< x: bits a second; the longest prompt
  std::vector<PlanCurve> over_tokens = {};     ///< x: prompt tokens; the link as given
};

/// Throws std::invalid_argument and std::runtime_error for what is missing, naming the option and
/// the file, for a checkpoint of other models, and for a prompt that leaves nothing to project.
KVALIGN_API Plan make_plan(const CostOptions& cost, const PlanOptions& options);

/// {"schema": 1, "sender", "receiver", "link", ..., "prompts": [{"prompt_tokens", "fastest",
/// "conclusion", "rows": [...], "steps": [...]}]}; all seconds are estimates.
KVALIGN_API nlohmann::json to_json(const Plan& plan);

/// A table a prompt, its sentence below it, and what the numbers are.
KVALIGN_API std::string to_text(const Plan& plan);
KVALIGN_API std::string to_markdown(const Plan& plan);

/// Makes `folder` where needed and writes plan.json, plan.md, plan_bandwidth.svg and
/// plan_prompt.svg, each in one step. Throws std::runtime_error naming the path.
KVALIGN_API void write_plan(const Plan& plan, const std::string& folder);

}  // namespace kvalign
