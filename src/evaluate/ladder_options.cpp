// What a recipe's `ladder` section may say.
#include "kvalign/evaluate/ladder_options.h"

#include <stdexcept>

namespace kvalign {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("ladder: " + what);
}

}  // namespace

void LadderOptions::describe(OptionVisitor& visitor) {
  visitor.field({"sender", "Hugging Face folder of the sender"}, sender);
  visitor.field({"receiver", "Hugging Face folder of the receiver"}, receiver);
  visitor.field({"tokens", "token file of held-out documents; empty: no ladder"}, tokens);
  visitor.field({"sequences", "how many held-out sequences are read; 0: all", 0}, sequences);
  visitor.field(
      {"prefix_tokens", "receiver tokens of the prefix; the cache covers all but the last", 2},
      prefix_tokens);
  visitor.field({"continuation_tokens", "tokens that are predicted after it", 1},
                continuation_tokens);
  visitor.field(
      {"sinks", "first tokens that the receiver computes itself in rows with exact sinks", 0},
      sinks);
  visitor.field({"reread",
                 "last tokens of the prefix that the receiver computes itself: a row each; must "
                 "begin with 0",
                 0},
                reread);
  visitor.field({.name = "grid",
                 .help = "full: every projected row with and without exact sinks and at each "
                         "reread; short: only the first checkpoint, the others with sinks",
                 .one_of = {"full", "short"}},
                grid);
  visitor.field({.name = "wire",
                 .help = "type in which a cache crosses the network",
                 .one_of = {"float32", "float16", "bfloat16"}},
                wire);
  visitor.field(
      {"judge",
       "name of the checkpoint that the gate is about, with exact sinks and nothing re-read; "
       "empty: the first one"},
      judge);
  visitor.field({"gate_tokens", "next-token scores that the identity gate compares", 1},
                gate_tokens);
}

void check_ladder_options(const LadderOptions& options) {
  if (options.sender.empty() || options.receiver.empty() || options.tokens.empty()) {
    refuse(
        "expected ladder.sender and ladder.receiver (Hugging Face folders) and ladder.tokens (a "
        "token file), got '" +
        options.sender + "', '" + options.receiver + "' and '" + options.tokens + "'");
  }
  if (options.reread.empty() || options.reread.front() != 0) {
    refuse("expected ladder.reread to begin with 0, the row that the gate is about");
  }
  for (size_t i = 1; i < options.reread.size(); ++i) {
    if (options.reread[i] <= options.reread[i - 1]) refuse("expected ladder.reread to ascend");
  }
  const int64_t left = options.prefix_tokens - 1 - options.reread.back() - options.sinks;
  if (left < 1) {
    refuse("expected tokens between the sinks and the re-read ones, got prefix_tokens " +
           std::to_string(options.prefix_tokens) + " with sinks " + std::to_string(options.sinks) +
           ", reread " + std::to_string(options.reread.back()) +
           " and the last token, which is never in the cache");
  }
}

at::ScalarType wire_dtype(const LadderOptions& options) {
  if (options.wire == "float32") return at::kFloat;
  return options.wire == "float16" ? at::kHalf : at::kBFloat16;
}

}  // namespace kvalign
