// A plan in words. Private to evaluate/.
#pragma once

#include <string>

#include "kvalign/evaluate/plan.h"

namespace kvalign {

// Which way is the fastest for one prompt, by how much, and what would change that. Needs its rows
// and `fastest`.
std::string plan_sentence(const PromptPlan& prompt);

}  // namespace kvalign
