// kvalign continue: what the receiver writes after its true cache, the projected one, another
// document's and none, and what the sender writes alone; or what it writes after a packet. For a
// person to look at.
#include <CLI/App.hpp>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "console.h"
#include "kvalign/core/device.h"
#include "kvalign/core/files.h"
#include "kvalign/deploy/packet_receiver.h"
#include "kvalign/evaluate/ladder.h"
#include "kvalign/model/detokeniser.h"

namespace kvalign::tools {
namespace {

struct ContinueFlags : Flags {
  std::string packet;
  std::vector<std::string> checkpoints;
  int64_t sequence = 0;
  int64_t tokens = 32;
};

nlohmann::json to_json(const Continuations& continuations) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Continuation& row : continuations.rows) {
    rows.push_back({{"row", row.name}, {"text", row.text}});
  }
  return {{"sequence", continuations.sequence},
          {"prefix_end", continuations.prefix_end},
          {"truth", continuations.truth},
          {"rows", rows}};
}

// Each text after its name, indented, so that its own line breaks are told from ours.
std::string block(const std::string& name, const std::string& text) {
  std::string indented = name + "\n    ";
  for (const char c : text) indented += c == '\n' ? std::string("\n    ") : std::string(1, c);
  return indented + "\n";
}

std::string to_text(const Continuations& continuations) {
  std::string text = "sequence " + std::to_string(continuations.sequence) + "\n" +
                     block("the prefix ends", continuations.prefix_end) +
                     block("it goes on", continuations.truth);
  for (const Continuation& row : continuations.rows) text += block(row.name, row.text);
  return text;
}

int continue_text(const LadderRecipe& options, const ContinueFlags& flags) {
  Console console;
  console.start("continue", use_device(options.recipe), source_text(flags));
  EvaluateOptions evaluate = options.evaluate;
  evaluate.baselines.clear();
  const Ladder ladder = Ladder::open(options.recipe, evaluate, options.ladder);
  const Continuations continuations = ladder.continue_greedily(flags.sequence, flags.tokens);
  flags.json ? print_result(to_json(continuations)) : print_result(to_text(continuations));
  return kDone;
}

std::string packet_text(const std::string& continuation, const DecodedPacket& packet) {
  return c10::str(packet.bytes.num_tokens, " tokens, ", packet.sink_token_ids.size(), " sinks and ",
                  packet.reread_token_ids.size(), " re-read among them; ",
                  std::round(packet.bytes.per_token(packet.bytes.total()) * 10) / 10,
                  " bytes a token\n") +
         block("it goes on", continuation);
}

// NAME=PATH without its name.
std::string path_of(const std::string& checkpoint) {
  return checkpoint.substr(checkpoint.find('=') + 1);
}

int continue_packet(const LadderRecipe& options, const ContinueFlags& flags) {
  Console console;
  console.start("continue", use_device(options.recipe), source_text(flags));
  const DecodedPacket packet = decode_packet(read_file(flags.packet));
  const PacketReceiver receiver(path_of(options.evaluate.checkpoints.front()),
                                options.ladder.receiver, resolve_device(options.recipe.device));
  const std::string text = Detokeniser::open(receiver.decoder().folder())
                               .text(receiver.continue_greedily(packet, flags.tokens));
  flags.json ? print_result(
                   nlohmann::json{{"tokens", packet.bytes.num_tokens},
                                  {"bytes_per_token", packet.bytes.per_token(packet.bytes.total())},
                                  {"text", text}})
             : print_result(packet_text(text, packet));
  return kDone;
}

}  // namespace

void add_continue(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("continue", "greedy text after each kind of cache, side by side");
  auto flags = std::make_shared<ContinueFlags>();
  add_flags(*command, *flags, [] { return options_help(LadderRecipe()); });
  command
      ->add_option("--packet", flags->packet,
                   "what the receiver continues from, instead of a held-out sequence")
      ->type_name("FILE");
  command->add_option("--sequence", flags->sequence, "which of the held-out sequences, from 0");
  command->add_option("--tokens", flags->tokens, "how many tokens are written")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--checkpoint", flags->checkpoints,
                   "PATH or NAME=PATH; default: the run folder's checkpoint")
      ->type_name("PATH")
      ->allow_extra_args(false);
  command->callback([=, &chosen] {
    chosen = [=] {
      return run_with_recipe<LadderRecipe>(
          *flags,
          [&](LadderRecipe& options) {
            if (!flags->checkpoints.empty()) options.evaluate.checkpoints = flags->checkpoints;
            add_run_defaults(options);
          },
          [&](const LadderRecipe& options) {
            return flags->packet.empty() ? continue_text(options, *flags)
                                         : continue_packet(options, *flags);
          });
    };
  });
}

}  // namespace kvalign::tools
