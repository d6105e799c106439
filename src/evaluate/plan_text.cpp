// A plan for people: sentences and tables. See plan.h.
#include "plan_text.h"

#include "kvalign/evaluate/text_table.h"
#include "number_text.h"
#include "transfer_report.h"

namespace kvalign {
namespace {

std::string tokens_text(double tokens) {
  return with_commas(static_cast<int64_t>(tokens)) + " tokens";
}

// "at no bandwidth", "above 3.2 Gbit/s".
std::string bandwidth_text(const BreakEven& point) {
  if (point.when == FasterWhen::kNever) return "at no bandwidth";
  if (point.when == FasterWhen::kAlways) return "at any bandwidth";
  return name_of(point.when) + " " + with_prefix(point.value, "bit/s");
}

// "at no length", "from 2,048 tokens".
std::string prompt_text(const BreakEven& point) {
  if (point.when == FasterWhen::kNever) return "at no length";
  if (point.when == FasterWhen::kAlways) return "at any length";
  return (point.when == FasterWhen::kAbove ? "from " : "below ") + tokens_text(point.value);
}

// "12 ms (3.1 times as long)".
std::string against(const TransferEstimate& estimate, const TransferEstimate& fastest) {
  return with_prefix(estimate.seconds_total(), "s") + " (" +
         format_short(estimate.seconds_total() / fastest.seconds_total()) + " times as long)";
}

TextTable table_of(const PromptPlan& prompt) {
  std::vector<std::string> header = estimate_header();
  header.emplace_back("estimate: beats the text");
  header.emplace_back("on this link");
  TextTable table(header);
  for (const PlanRow& row : prompt.rows) {
    std::vector<std::string> cells = estimate_cells(row.estimate);
    cells.push_back(is_cache(row) ? bandwidth_text(row.bandwidth) : "-");
    cells.push_back(is_cache(row) ? prompt_text(row.tokens) : "-");
    table.add(cells);
  }
  return table;
}

std::string notes(const Plan& plan) {
  std::string text = estimate_notes(plan.setting);
  text += "Models: " + plan.sender + " (" + with_commas(plan.sender_parameters) +
          " parameters) to " + plan.receiver + " (" + with_commas(plan.receiver_parameters) +
          "). Cache projected by " + plan.cache_projector + ", " +
          with_commas(plan.cache_projector_parameters) + " parameters; latents by " +
          plan.latent_projector + ", " + with_commas(plan.latent_projector_parameters) + ".\n";
  text += "Text: " + format_short(plan.text_bytes_per_token) + " bytes a token (" +
          plan.text_bytes_source + "). Lengths of a prompt are looked for up to " +
          tokens_text(kLongestPrompt) +
          ", whatever the models hold. A plan says nothing of quality: kvalign eval does.\n";
  for (const PlanRow& row : plan.prompts.front().rows) {
    text += row.estimate.name + ": " + row.estimate.text + ".\n";
  }
  return text;
}

}  // namespace

bool is_cache(const PlanRow& row) {
  return row.estimate.bytes_sent > 0 && row.estimate.name != "text";
}

std::string plan_sentence(const PromptPlan& prompt) {
  const TransferEstimate* fastest = nullptr;
  for (const PlanRow& row : prompt.rows) {
    if (row.estimate.name == prompt.fastest) fastest = &row.estimate;
  }
  const std::string best = with_prefix(fastest->seconds_total(), "s");
  const std::string text =
      "Send the " + prompt.fastest + ". The first token comes after " + best + " at best";
  std::string others, changes;
  for (const PlanRow& row : prompt.rows) {
    if (row.estimate.bytes_sent == 0) continue;
    if (row.estimate.name != prompt.fastest) {
      others += (others.empty() ? "; " : ", ") + row.estimate.name + ": " +
                against(row.estimate, *fastest);
    }
    if (!is_cache(row)) continue;
    changes += " " + row.estimate.name + " would beat the text " + bandwidth_text(row.bandwidth) +
               " with this prompt, and " + prompt_text(row.tokens) + " on this link.";
  }
  return text + others + "." + changes;
}

std::string to_text(const Plan& plan) {
  std::string text;
  for (const PromptPlan& prompt : plan.prompts) {
    text += "Prompt of " + tokens_text(static_cast<double>(prompt.prompt_tokens)) + "\n" +
            table_of(prompt).aligned() + prompt.conclusion + "\n\n";
  }
  return text + notes(plan);
}

std::string to_markdown(const Plan& plan) {
  std::string text = "# Plan: " + plan.sender + " to " + plan.receiver + "\n";
  for (const PromptPlan& prompt : plan.prompts) {
    text += "\n## Prompt of " + tokens_text(static_cast<double>(prompt.prompt_tokens)) + "\n\n" +
            prompt.conclusion + "\n\n" + table_of(prompt).markdown();
  }
  return text + "\n![Time to the first token against bandwidth](plan_bandwidth.svg)\n\n" +
         "![Time to the first token against the prompt](plan_prompt.svg)\n\n" +
         markdown_list(notes(plan));
}

}  // namespace kvalign
