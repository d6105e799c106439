// What a report for people says of task heads. Private to evaluate/.
#pragma once

#include <string>

#include "kvalign/evaluate/report.h"

namespace kvalign {

// For a terminal, and as a section of report.md; empty where there is no task.
std::string task_head_text(const Report& report);
std::string task_head_markdown(const Report& report);

// "V1-head minus V1", or, of one row's own caches under both heads, "V1-head minus the true caches'
// head on it".
std::string gain_name(const std::string& row, const std::string& against);

}  // namespace kvalign
