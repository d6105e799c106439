// How reports say which class is a model's answer. Private to evaluate/.
#pragma once

#include <string>

namespace kvalign {

// Goes on after "the class whose answer ". `rule`: a value of the option `answer`.
inline std::string answer_rule_text(const std::string& rule) {
  if (rule == "mean") return "has the highest log-likelihood a token.";
  return rule == "calibrated"
             ? "gains most log-likelihood over the question without a text."
             : "gains most probability over what the row says of all texts together.";
}

}  // namespace kvalign
