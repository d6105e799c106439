// A plan in words. Private to evaluate/.
#pragma once

#include <cstdint>
#include <string>

#include "kvalign/evaluate/plan.h"

namespace kvalign {

// Up to which a break-even length is looked for, in tokens.
constexpr int64_t kLongestPrompt = int64_t{1} << 20;

// Whether something of the sender's cache is sent, which is compared with sending the text.
bool is_cache(const PlanRow& row);

// Which way is the fastest for one prompt, by how much, and what would change that. Needs its rows
// and `fastest`.
std::string plan_sentence(const PromptPlan& prompt);

}  // namespace kvalign
