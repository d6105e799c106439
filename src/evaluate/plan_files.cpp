// plan.json and the files of a plan's folder. See plan.h.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "json_number.h"
#include "kvalign/core/files.h"
#include "kvalign/evaluate/plan.h"
#include "kvalign/evaluate/svg_plot.h"
#include "number_text.h"
#include "plan_text.h"
#include "transfer_report.h"

namespace kvalign {
namespace {

using nlohmann::json;

constexpr int kSchema = 1;

json to_json(const BreakEven& point) {
  const bool has_value = point.when == FasterWhen::kAbove || point.when == FasterWhen::kBelow;
  return {{"when", name_of(point.when)}, {"value", has_value ? number(point.value) : json()}};
}

json to_json(const PromptPlan& prompt) {
  json rows = json::array(), steps = json::array();
  for (const PlanRow& row : prompt.rows) {
    json item = to_json(row.estimate);
    // Text is not compared with itself, sent or not.
    item["faster_than_text_at_bits_per_second"] = is_cache(row) ? to_json(row.bandwidth) : json();
    item["faster_than_text_at_prompt_tokens"] = is_cache(row) ? to_json(row.tokens) : json();
    rows.push_back(std::move(item));
    for (const json& step : steps_to_json(row.estimate)) steps.push_back(step);
  }
  return {{"prompt_tokens", prompt.prompt_tokens},
          {"fastest", prompt.fastest},
          {"conclusion", prompt.conclusion},
          {"rows", rows},
          {"steps", steps}};
}

std::string draw_curves(const std::vector<PlanCurve>& curves, const std::string& title,
                        const std::string& x_title, const ReferenceLine& here) {
  LinePlot plot{.title = title,
                .description = title +
                               ", one line for each way of sending the prompt. Estimates "
                               "by the roofline model.",
                .x = {.title = x_title, .scale = AxisScale::kLog10},
                .y = {.title = "estimate: seconds to the first token", .scale = AxisScale::kLog10},
                .x_lines = {here}};
  for (const PlanCurve& curve : curves) {
    PlotSeries series{.name = curve.name, .style = SeriesStyle::kLine};
    for (size_t i = 0; i < curve.x.size(); ++i) {
      series.points.push_back({.x = curve.x[i], .y = curve.seconds[i]});
    }
    plot.series.push_back(std::move(series));
  }
  // A file of its own has no page that brings the style.
  std::string svg = draw(plot);
  svg.insert(svg.find('>') + 1, "<style>" + plot_style() + "</style>");
  return svg;
}

int64_t longest_prompt(const Plan& plan) {
  int64_t longest = 0;
  for (const PromptPlan& prompt : plan.prompts) longest = std::max(longest, prompt.prompt_tokens);
  return longest;
}

}  // namespace

json to_json(const Plan& plan) {
  json result = to_json(plan.setting);
  json prompts = json::array();
  for (const PromptPlan& prompt : plan.prompts) prompts.push_back(to_json(prompt));
  result.update(
      {{"schema", kSchema},
       {"what",
        "estimates by the roofline model, each step a lower limit of its time; nothing overlaps"},
       {"sender", plan.sender},
       {"receiver", plan.receiver},
       {"sender_parameters", plan.sender_parameters},
       {"receiver_parameters", plan.receiver_parameters},
       {"cache_projector", plan.cache_projector},
       {"cache_projector_parameters", plan.cache_projector_parameters},
       {"latent_projector", plan.latent_projector},
       {"latent_projector_parameters", plan.latent_projector_parameters},
       {"text_bytes_per_token", plan.text_bytes_per_token},
       {"text_bytes_source", plan.text_bytes_source},
       {"prompts", prompts}});
  return result;
}

void write_plan(const Plan& plan, const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw std::runtime_error("write_plan: cannot make the folder " + folder + ": " +
                             error.message());
  }
  const std::string longest = with_commas(std::to_string(longest_prompt(plan))) + " tokens";
  const std::string link = with_prefix(plan.setting.link_bits_per_second, "bit/s");
  write_file_atomically(folder + "/plan.json", to_json(plan).dump(2) + "\n");
  write_file_atomically(folder + "/plan.md", to_markdown(plan));
  write_file_atomically(
      folder + "/plan_bandwidth.svg",
      draw_curves(plan.over_bandwidth, "Time to the first token after a prompt of " + longest,
                  "bandwidth, bit/s", {plan.setting.link_bits_per_second, "this link"}));
  write_file_atomically(
      folder + "/plan_prompt.svg",
      draw_curves(plan.over_tokens, "Time to the first token on a link of " + link,
                  "prompt, tokens",
                  {static_cast<double>(longest_prompt(plan)), "longest prompt of the plan"}));
}

}  // namespace kvalign
