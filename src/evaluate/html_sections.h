// The sections of report.html, each from the whole report; empty where it has nothing for them.
// Private to evaluate/.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace kvalign {

// What it all means: sentences, verdicts, warnings.
std::string summary_section(const nlohmann::json& report);
std::string ladder_section(const nlohmann::json& report);  // table and differences
std::string ladder_plots_section(const nlohmann::json& report);
std::string task_success_section(const nlohmann::json& report);
std::string certificates_section(const nlohmann::json& report);
std::string reconstruction_section(const nlohmann::json& report);
std::string task_tables(const nlohmann::json& report);  // within the section above
std::string training_section(const nlohmann::json& report);
std::string cost_section(const nlohmann::json& report);
// Data, machine, recipe.
std::string provenance_section(const nlohmann::json& report);
std::string definitions_section();

}  // namespace kvalign
