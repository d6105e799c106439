// kvalign capture: two models read the sequences of a token file; their caches become a dataset.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "console.h"
#include "interrupt.h"
#include "kvalign/core/device.h"

namespace kvalign::tools {
namespace {

nlohmann::json to_json(const CaptureResult& result, const std::string& folder) {
  return {{"dataset", folder},
          {"num_sequences", result.index.num_sequences},
          {"num_tokens", result.index.num_tokens},
          {"shards_kept", result.shards_kept},
          {"shards_written", result.shards_written},
          {"model_tokens", result.progress.tokens_done},
          {"tokens_per_s", result.progress.tokens_per_s}};
}

std::string to_text(const CaptureResult& result, const std::string& folder) {
  std::string text = fmt::format("{}: {} sequences, {} tokens in {} shards, {} of them kept",
                                 folder, result.index.num_sequences, result.index.num_tokens,
                                 result.num_shards, result.shards_kept);
  if (result.progress.tokens_done > 0) {
    text += fmt::format("\n{} tokens through the two models, {:.1f} tokens/s",
                        result.progress.tokens_done, result.progress.tokens_per_s);
  }
  return text;
}

int run(const CaptureRecipe& options, const Flags& flags) {
  Console console;
  const Recipe& recipe = options.recipe;
  console.start("capture", use_device(recipe), source_text(flags));
  catch_interrupts();
  const auto show = [&](const CaptureProgress& progress) {
    const auto left = static_cast<double>(progress.tokens_total - progress.tokens_done);
    console.progress("capture", progress.tokens_done, progress.tokens_total,
                     fmt::format("tokens ({:.1f} tokens/s, {} left)", progress.tokens_per_s,
                                 duration_text(left / progress.tokens_per_s)));
  };
  const CaptureResult result =
      capture(options.capture, recipe.dataset.folder, resolve_device(recipe.device),
              {.on_progress = show, .stop_requested = [] { return interrupt_signal() != 0; }});
  if (result.interrupted) {
    console.warning(fmt::format("stopped with {} of {} shards; the same command goes on",
                                result.shards_kept + result.shards_written, result.num_shards));
    return 128 + interrupt_signal();
  }
  flags.json ? print_result(to_json(result, recipe.dataset.folder))
             : print_result(to_text(result, recipe.dataset.folder));
  return kDone;
}

}  // namespace

void add_capture(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("capture", "makes a dataset of two models' caches");
  auto flags = std::make_shared<Flags>();
  add_flags(*command, *flags, [] { return options_help(CaptureRecipe()); });
  command->callback([=, &chosen] {
    chosen = [=] {
      return run_with_recipe<CaptureRecipe>(
          *flags, [](CaptureRecipe&) {},
          [&](const CaptureRecipe& options) { return run(options, *flags); });
    };
  });
}

}  // namespace kvalign::tools
