// See load_options.h.
#include "kvalign/serve/load_options.h"

#include <regex>
#include <stdexcept>

namespace kvalign {

void LoadOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "url", .help = "http:// or https://, host and port", .required = true},
                url);
  visitor.field({.name = "model", .help = "which of the server's models", .required = true}, model);
  visitor.field({.name = "version", .help = "of the model; empty: the server's choice"}, version);
  visitor.field(
      {.name = "scenario",
       .help = "MLPerf's: the next query after the last, Poisson arrivals, or all at once",
       .one_of = {"single_stream", "server", "offline"}},
      scenario);
  visitor.field({.name = "request",
                 .help = "what is asked for: the receiver's cache, or its text piece by piece",
                 .one_of = {"infer", "generate"}},
                request);
  visitor.field({.name = "input",
                 .help = "what infer brings: random features, the same as FP8 codes with scales, "
                         "or packets",
                 .one_of = {"features", "codes", "packet"}},
                input);
  visitor.field({"packets", "packet files, sent in turn"}, packets);
  visitor.field({.name = "tokens",
                 .help = "of a query's features or codes; where several, each query draws one",
                 .minimum = 1},
                tokens);
  visitor.field({.name = "max_tokens", .help = "that generate asks for", .minimum = 1}, max_tokens);
  visitor.field({.name = "queries", .help = "that are measured", .minimum = 1}, queries);
  visitor.field(
      {.name = "warmup_queries", .help = "that are sent before and not measured", .minimum = 0},
      warmup_queries);
  // A descriptor from FD_SETSIZE on would break cpp-httplib's select().
  visitor.field({.name = "connections",
                 .help = "queries under way at most; a single stream has one",
                 .minimum = 1,
                 .maximum = 500},
                connections);
  visitor.field({.name = "seed", .help = "of arrivals and of inputs", .minimum = 0}, seed);
  visitor.field(
      {.name = "queries_per_second", .help = "at which a server's queries arrive", .minimum = 0},
      queries_per_second);
  visitor.field({.name = "timeout_seconds",
                 .help = "without a byte from the server, after which a query is lost",
                 .minimum = 0,
                 .exclusive_minimum = true},
                timeout_seconds);
  visitor.field(
      {.name = "latency_bound_ms",
       .help = "within which 90 % (single_stream) or 99 % (server) of the queries must be "
               "answered; 0: none",
       .minimum = 0},
      latency_bound_ms);
  visitor.field({.name = "min_queries_per_second",
                 .help = "that must be answered; 0: no such bound",
                 .minimum = 0},
                min_queries_per_second);
  visitor.field({"log", "JSON Lines file that gets one line for each query"}, log);
  visitor.field({"token_file", "file with the bearer token"}, token_file);
  visitor.field({"ca_file", "PEM file with the certificate that signed the server's"}, ca_file);
}

double share_within_bound(const LoadOptions& options) {
  return options.scenario == "single_stream" ? 0.9 : 0.99;
}

void check_load_options(const LoadOptions& options) {
  if (!std::regex_match(options.url, std::regex("https?://[^/?#]+"))) {
    throw std::invalid_argument("load.url: expected http://HOST:PORT or https://HOST:PORT, got '" +
                                options.url + "'");
  }
  if (options.scenario == "server" && options.queries_per_second <= 0) {
    throw std::invalid_argument(
        "load.queries_per_second: scenario server needs the rate at which queries arrive, e.g. "
        "--set load.queries_per_second=100");
  }
  if (options.scenario != "server" && options.queries_per_second > 0) {
    throw std::invalid_argument("load.queries_per_second: only scenario server has one, not " +
                                options.scenario);
  }
  if (options.scenario == "offline" && options.latency_bound_ms > 0) {
    throw std::invalid_argument(
        "load.latency_bound_ms: scenario offline has none; bound its throughput with "
        "load.min_queries_per_second");
  }
  if (options.reads_packets() && options.packets.empty()) {
    throw std::invalid_argument(
        "load.packets: " +
        std::string(options.request == "generate" ? "request generate" : "input packet") +
        " needs packet files; kvalign encode makes them");
  }
  if (options.tokens.empty()) {
    throw std::invalid_argument("load.tokens: expected at least one number of tokens, got none");
  }
}

}  // namespace kvalign
