// The drift test on scores of others, for drift_oracle_test.py: each line of the input is a JSON
// object with reference, scores, alpha, round_requests and seed, and is answered by a line with the
// list of [p, log10_martingale, alarm] after each score.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "kvalign/monitor/drift_test.h"

int main() {
  using nlohmann::json;
  for (std::string line; std::getline(std::cin, line);) {
    const json input = json::parse(line);
    kvalign::DriftTest test(input.at("reference").get<std::vector<double>>(),
                            {.alpha = input.at("alpha"),
                             .round_requests = input.at("round_requests"),
                             .seed = input.at("seed")});
    json answers = json::array();
    for (const double score : input.at("scores").get<std::vector<double>>()) {
      const double p = test.observe(score);
      answers.push_back({p, test.state().log10_martingale, test.state().alarm});
    }
    std::cout << answers.dump() << "\n";
  }
}
