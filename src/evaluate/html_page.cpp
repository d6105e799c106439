// Elements of a page as text, and its style. See html_page.h.
#include "html_page.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "kvalign/evaluate/page_style.h"
#include "kvalign/evaluate/svg_plot.h"
#include "markup.h"
#include "number_text.h"

namespace kvalign {
namespace {

constexpr const char* kNone = "–";

// Class of a badge and what it says; empty for no badge.
const char* name_of(NumberKind kind) {
  switch (kind) {
    case NumberKind::kMeasured:
      return "measured";
    case NumberKind::kCertified:
      return "certified";
    case NumberKind::kStatistical:
      return "statistical";
    case NumberKind::kEstimate:
      return "estimate";
    case NumberKind::kNone:
    case NumberKind::kText:
      return "";
  }
  return "";
}

// The dark page is for screens alone: paper is white.
constexpr const char* kStyle = R"(:root{color-scheme:light dark;--ink:#1b1e23;--soft:#5b6470;
--line:#d5d9df;--panel:#f4f6f8;--good:#00704f;--bad:#b34700}
@media screen and (prefers-color-scheme:dark){
:root{--ink:#e4e7eb;--soft:#a3acb8;--line:#3a404a;--panel:#20242b;--good:#3fc79a;--bad:#ff8a3d}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:52rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:break-word}
h1{font-size:1.5rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.6rem 0 .4rem}
p,li{max-width:42rem}
ul{padding-left:1.2rem}
.verdict{border:1px solid currentColor;border-left-width:.4rem;border-radius:.3rem;
padding:.6rem .8rem;margin:1rem 0}
.verdict p{color:var(--ink);margin:.2rem 0 0}
.verdict.passed{color:var(--good)}
.verdict.failed{color:var(--bad)}
figure{margin:1.6rem 0}
figcaption{color:var(--soft);font-size:.9rem;max-width:38rem;margin-top:.4rem}
.table{overflow-x:auto;margin:1rem 0}
table{border-collapse:separate;border-spacing:0;font-size:.85rem;font-variant-numeric:tabular-nums}
.caption{color:var(--soft);font-size:.9rem;margin:1.2rem 0 -.6rem}
th,td{padding:.3rem .6rem;text-align:right;white-space:nowrap;vertical-align:top;
border-bottom:1px solid var(--line)}
thead th{vertical-align:bottom;font-weight:600}
th:first-child{text-align:left;position:sticky;left:0;background:var(--page)}
tbody th{font-weight:400;min-width:8.5rem;white-space:normal}
@media (min-width:40rem){tbody th{white-space:nowrap}}
tr.marked>*{font-weight:600;background:var(--panel)}
td.text,th.text{text-align:left;white-space:normal;min-width:15rem}
.kind{display:block;width:max-content;margin:.15rem 0 0 auto;padding:0 .35rem;
border:1px solid currentColor;border-radius:.6rem;font-size:.7rem;font-weight:400;line-height:1.4}
p .kind,li .kind{display:inline-block;margin:0}
.kind.certified{border-width:2px;font-weight:600}
.kind.statistical{border-style:dashed}
.kind.estimate{border-style:dotted;font-style:italic}
details{margin:.8rem 0}
summary{cursor:pointer;font-weight:600}
pre{overflow-x:auto;background:var(--panel);padding:.8rem;border-radius:.3rem;font-size:.8rem}
@media print{body{max-width:none;font-size:10pt}.table{overflow:visible}table{font-size:7pt}
th,td{padding:.1rem .25rem}th:first-child{position:static}figure,tr,.verdict{break-inside:avoid}
h2{break-after:avoid}pre{white-space:pre-wrap}.kind{font-size:6pt}}
)";

std::string cell(const char* name, const HtmlColumn& column, const std::string& markup) {
  const std::string kind = column.kind == NumberKind::kText ? " class=\"text\"" : "";
  return std::string("<") + name + kind + ">" + markup + "</" + name + ">";
}

}  // namespace

void HtmlTable::add(const std::vector<std::string>& cells, bool is_marked) {
  rows_ += is_marked ? "<tr class=\"marked\">" : "<tr>";
  for (size_t i = 0; i < cells.size(); ++i) {
    rows_ += i == 0 ? "<th scope=\"row\">" + escape_markup(cells[i]) + "</th>"
                    : cell("td", columns_[i], escape_markup(cells[i]));
  }
  rows_ += "</tr>\n";
}

std::string HtmlTable::markup() const {
  const std::string caption = escape_markup(caption_);
  // The caption does not scroll along; a region that does takes the focus, so that keys scroll it.
  std::string markup = "<p class=\"caption\">" + caption +
                       "</p>\n<div class=\"table\" role=\"region\" tabindex=\"0\" aria-label=\"" +
                       caption + "\">\n<table>\n<thead><tr>";
  for (const HtmlColumn& column : columns_) {
    markup += cell("th", column, escape_markup(column.title) + html_badge(column.kind));
  }
  return markup + "</tr></thead>\n<tbody>\n" + rows_ + "</tbody>\n</table>\n</div>\n";
}

std::string html_section(const std::string& title, const std::string& markup) {
  if (markup.empty()) return "";
  return "<section>\n<h2>" + escape_markup(title) + "</h2>\n" + markup + "</section>\n";
}

std::string html_heading(const std::string& text) {
  return "<h3>" + escape_markup(text) + "</h3>\n";
}

std::string html_details(const std::string& summary, const std::string& markup) {
  return "<details>\n<summary>" + escape_markup(summary) + "</summary>\n" + markup + "</details>\n";
}

std::string html_row_texts(const nlohmann::json& rows, const nlohmann::json& absent_rows) {
  std::vector<std::string> texts;
  for (const nlohmann::json& row : rows) {
    texts.push_back(row.at("row").get<std::string>() + ": " + row.at("text").get<std::string>());
  }
  for (const nlohmann::json& row : absent_rows) {
    texts.push_back("Not shown: " + row.at("row").get<std::string>() + ", " +
                    row.at("why").get<std::string>());
  }
  return html_details("What each row is", html_list(texts));
}

std::string html_paragraph(const std::string& text) {
  return "<p>" + escape_markup(text) + "</p>\n";
}

std::string html_preformatted(const std::string& text) {
  return "<pre>" + escape_markup(text) + "</pre>\n";
}

std::string html_list(const std::vector<std::string>& texts) {
  if (texts.empty()) return "";
  std::string markup = "<ul>\n";
  for (const std::string& text : texts) markup += "<li>" + escape_markup(text) + "</li>\n";
  return markup + "</ul>\n";
}

std::string html_figure(const std::string& svg, const std::string& text) {
  return "<figure>\n" + svg + "<figcaption>" + escape_markup(text) + "</figcaption>\n</figure>\n";
}

std::string html_verdict(bool passed, const std::string& title, const std::string& text) {
  return std::string("<div class=\"verdict ") +
         (passed ? "passed\"><strong>✓ " : "failed\"><strong>✗ ") + escape_markup(title) +
         "</strong>\n" + html_paragraph(text) + "</div>\n";
}

std::string html_badge(NumberKind kind) {
  const std::string name = name_of(kind);
  return name.empty() ? "" : "<span class=\"kind " + name + "\">" + name + "</span>";
}

std::string page_style() {
  return plot_style() + kStyle;
}

std::string html_page(const std::string& title, const std::string& markup) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         escape_markup(title) + "</title>\n<style>\n" + page_style() +
         "</style>\n</head>\n<body>\n<main>\n" + markup + "</main>\n</body>\n</html>\n";
}

double number_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? NAN : found->get<double>();
}

std::string cell_of(const nlohmann::json& value) {
  if (value.is_null()) return kNone;
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return with_commas(value.dump());
  if (value.is_number()) return number_cell(value.get<double>());
  return value.dump();
}

std::string cell_of(const nlohmann::json& object, const char* key) {
  return cell_of(object.value(key, nlohmann::json()));
}

std::string number_cell(double value) {
  if (!std::isfinite(value)) return kNone;
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size < 10 || size >= 1e9) return format_number(value);
  const bool is_whole = size >= 1e3 && value == std::round(value);
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", is_whole ? 0 : size < 100 ? 2 : 1, value);
  return with_commas(text);
}

std::string interval_cell(double low, double high) {
  if (std::isnan(low) || std::isnan(high)) return kNone;
  std::string text = "[";
  text += number_cell(low) + ", " + number_cell(high) + "]";
  return text;
}

void add_interval_cells(std::vector<std::string>& cells, const nlohmann::json& interval) {
  cells.push_back(cell_of(interval, "value"));
  cells.push_back(interval_cell(number_of(interval, "low"), number_of(interval, "high")));
}

HtmlColumn html_interval_column() {
  return {"95 % interval", NumberKind::kStatistical};
}

std::string percent_cell(double share) {
  if (!std::isfinite(share)) return kNone;
  // Three digits, and never rounded up to all of it.
  return format_short(share < 1 ? std::min(100 * share, 99.9) : 100 * share) + " %";
}

}  // namespace kvalign
