// Puts the page together. See html_report.h; html_sections.h lists who writes what.
#include "kvalign/evaluate/html_report.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "html_page.h"
#include "html_sections.h"
#include "markup.h"

namespace kvalign {
namespace {

using nlohmann::json;

constexpr int kHtmlSchema = 1;

std::string title_of(const json& report) {
  const json& data =
      report.contains("ladder_data") ? report.at("ladder_data") : report.at("dataset");
  return data.at("sender").get<std::string>() + " to " + data.at("receiver").get<std::string>();
}

void check(const json& report) {
  if (report.is_object() && report.value("schema", json()) == kHtmlSchema) return;
  throw std::invalid_argument("to_html: expected the object of a report.json of schema " +
                              std::to_string(kHtmlSchema) + ", got " +
                              (report.is_object()
                                   ? "schema " + report.value("schema", json()).dump()
                                   : std::string(report.type_name())) +
                              ". Write the report anew with kvalign eval.");
}

}  // namespace

std::string to_html(const json& report) {
  check(report);
  const std::string title = title_of(report);
  return html_page(
      "kvalign: " + title,
      "<h1>" + escape_markup(title) + "</h1>\n" + summary_section(report) + ladder_section(report) +
          ladder_plots_section(report) + task_success_section(report) +
          certificates_section(report) + cost_section(report) + reconstruction_section(report) +
          training_section(report) + provenance_section(report) + definitions_section());
}

}  // namespace kvalign
