// report.html: that it is a page by the judgement of Python's parsers, and shows what the report
// holds, no less where it is old and no more where it is new.
#include "kvalign/evaluate/html_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "kvalign/core/temporary_folder.h"
#include "tests/support/python.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

json read(const std::string& path) {
  return json::parse(std::ifstream(std::string(KVALIGN_SOURCE_DIR) + "/" + path));
}

// With certificates, cost and training, which the reports of results/ lack, and with intervals and
// nll by position: 1 nat after the true cache, 3 after the floor, 2 after each other row.
json whole_report() {
  json report = read("results/demo.json");
  report.update(read("tests/evaluate/report_parts.json"));
  json scores = report["task"]["gains"][0];
  scores.erase("row");
  scores.erase("against");
  for (json& row : report["reconstruction"]["rows"]) {
    row["task"] = scores;
    row["task"].update({{"accuracy_difference", scores["accuracy"]},
                        {"disagreement", scores["accuracy"]},
                        {"own_head", scores}});
    row["task"]["own_head"]["true_cache"] = scores;
  }
  for (json& row : report["ladder"]) {
    const bool is_floor = row["row"] == report["ladder_data"]["floor"];
    const double nll = row["row"] == "true cache" ? 1 : is_floor ? 3 : 2;
    row["nll_by_position"] = std::vector<double>(20, nll);
    for (const char* tokens : {"first16", "all"}) {
      row[tokens]["nll_low"] = row[tokens]["nll"].get<double>() - 0.0625;
      row[tokens]["nll_high"] = row[tokens]["nll"].get<double>() + 0.0625;
    }
  }
  return report;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// The plot of that title.
std::string plot_of(const std::string& page, const std::string& title) {
  const size_t at = page.find("<title>" + title);
  if (at == std::string::npos) return "";
  return page.substr(at, page.find("</svg>", at) - at);
}

// Tags that close what is open; one <h1>; every plot an XML tree of its own with title and
// description; every table with as many cells in each row; nothing that is fetched or run.
constexpr const char* kCheckPage = R"(
import html.parser, re, sys, xml.etree.ElementTree as tree
VOID = {"meta", "br", "hr"}
class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.rows = [], [], []
    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        assert not {"src", "href"} & {name for name, _ in attributes}, (tag, attributes)
        if tag not in VOID: self.open.append(tag)
        if tag == "table": self.rows = []
        if tag == "tr": self.rows.append(0)
        if tag in ("td", "th"): self.rows[-1] += 1
    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)
    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())
        if tag == "table": assert len(set(self.rows)) == 1, self.rows
text = open(sys.argv[1]).read()
page = Page()
page.feed(text)
page.close()
assert page.open == [] and page.seen.count("h1") == 1
assert not {"script", "link", "img", "iframe", "object"} & set(page.seen)
assert "url(" not in text and "@import" not in text
plots = re.findall("<svg.*?</svg>", text, re.S)
for plot in plots:
    names = [element.tag.split("}")[1] for element in tree.fromstring(plot)]
    assert names[:2] == ["title", "desc"], names
print(len(plots), "plots")
)";

class HtmlReportTest : public ::testing::Test {
 protected:
  void expect_page(const json& report) {
    std::ofstream(folder_.file("report.html")) << to_html(report);
    EXPECT_EQ(run_python(kCheckPage, folder_.file("report.html")), 0);
  }
  TemporaryFolder folder_;
};

TEST_F(HtmlReportTest, EveryReportMakesAPage) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  expect_page(whole_report());
  for (const auto& file : std::filesystem::directory_iterator(KVALIGN_SOURCE_DIR "/results")) {
    const std::string name = file.path().filename().string();
    if (file.path().extension() != ".json" || name == "report.schema.json") continue;
    SCOPED_TRACE(name);
    expect_page(read("results/" + name));
  }
}

TEST_F(HtmlReportTest, AllPartsHaveTheirSections) {
  const std::string page = to_html(whole_report());
  for (const char* title : {"Ladder", "Plots of the ladder", "Task success", "Certificates", "Cost",
                            "Reconstruction", "Training", "Data, machine, recipe", "Definitions"}) {
    EXPECT_THAT(page, HasSubstr("<h2>" + std::string(title) + "</h2>"));
  }
  for (const char* title :
       {"Ladder: the first 16 tokens", "Ladder: all predicted tokens", "Rate against quality",
        "Retention by token position", "Distortion against bound: keys of ridge",
        "Distortion against bound: values of ridge", "Training of "}) {
    EXPECT_NE(plot_of(page, title), "") << title;
  }
  // The certificate of a flat cache has no layers to plot.
  EXPECT_EQ(plot_of(page, "Distortion against bound: keys of V2"), "");
}

TEST_F(HtmlReportTest, RoundTripsHaveTheirTable) {
  const std::string page = to_html(whole_report());
  EXPECT_THAT(page, HasSubstr("<h3>Round trips</h3>"));
  EXPECT_THAT(page, HasSubstr("<td>receiver to sender to receiver</td>"));
  EXPECT_THAT(page, HasSubstr("<td>[0.7812, 0.8438]</td>"));
  EXPECT_THAT(to_html(read("results/demo.json")), Not(HasSubstr("Round trips")));
}

TEST_F(HtmlReportTest, WhatIsNotThereIsNotShown) {
  nlohmann::json report = read("results/seed_512_to_4096.json");
  report.erase("training");
  const std::string page = to_html(report);
  for (const char* title :
       {"Ladder", "Plots of the ladder", "Task success", "Certificates", "Cost", "Training"}) {
    EXPECT_THAT(page, Not(HasSubstr("<h2>" + std::string(title) + "</h2>")));
  }
  EXPECT_THAT(page, HasSubstr("<h2>Reconstruction</h2>"));
  EXPECT_THAT(page, HasSubstr("Task agreement"));
  EXPECT_EQ(count_of(page, "<svg"), 0);
}

TEST_F(HtmlReportTest, TellsOfTaskHeadsAndFineTuning) {
  const std::string page = to_html(whole_report());
  for (const char* cell : {"Task agreement, 5 classes", "commonest label", "balanced accuracy",
                           "macro-F1", "V2, own head", "true cache, head of V2", "V2 minus V1"}) {
    EXPECT_THAT(page, HasSubstr(cell));
  }
  EXPECT_THAT(to_html(read("results/seed_512_to_4096.json")), Not(HasSubstr("own head")));
}

TEST_F(HtmlReportTest, TellsTheVerdict) {
  json report = whole_report();
  report["gate"]["passed"] = true;
  EXPECT_THAT(to_html(report), HasSubstr("✓ The gate is met"));
  report["gate"]["passed"] = false;
  report["certificates"]["gate"] = {
      {"passed", false}, {"verdict", "inconclusive"}, {"why", "one code is saturated"}};
  report["warnings"] = {"Mind the step."};
  const std::string page = to_html(report);
  EXPECT_THAT(page, HasSubstr("✗ The gate is NOT met"));
  EXPECT_THAT(page, HasSubstr("✗ Certificates: inconclusive"));
  EXPECT_THAT(page, HasSubstr("<li>Mind the step.</li>"));
}

TEST_F(HtmlReportTest, EveryColumnSaysWhatStandsBehindIt) {
  const std::string page = to_html(whole_report());
  const auto badge = [](const std::string& title, const std::string& kind) {
    return title + "<span class=\"kind " + kind + "\">" + kind + "</span>";
  };
  EXPECT_THAT(page, HasSubstr(badge("nll first 16", "measured")));
  EXPECT_THAT(page, HasSubstr(badge("95 % interval", "statistical")));
  EXPECT_THAT(page, HasSubstr(badge("bound p50", "certified")));
  EXPECT_THAT(page, HasSubstr(badge("seconds total", "estimate")));
  EXPECT_EQ(count_of(page, "95 % interval</th>"), 0);
  EXPECT_THAT(page, HasSubstr("<th>energy</th>"));  // not measured: no number
}

TEST_F(HtmlReportTest, TaskSuccessHasItsTablesAndSaysWhatSinksShow) {
  json report = whole_report();
  const std::string page = to_html(report);
  for (const char* text :
       {"ridge + sinks answers 80 % of the texts right", "<td>0.8500</td>", "[0.7000, 0.8500]",
        "Exact sinks are tokens of the text itself", "highest log-likelihood a token",
        "What is asked: &quot;\\nIs this spam?&quot;"}) {
    EXPECT_THAT(page, HasSubstr(text));
  }
  report["task_success"]["sinks_show_text"] = false;
  report["task_success"]["answer"] = "calibrated";
  const std::string other = to_html(report);
  EXPECT_THAT(other, Not(HasSubstr("Exact sinks are tokens of the text itself")));
  EXPECT_THAT(other, HasSubstr("gains most log-likelihood over the question without a text"));
}

TEST_F(HtmlReportTest, BarsHaveIntervalsAndReferenceLines) {
  const json report = whole_report();
  const std::string plot = plot_of(to_html(report), "Ladder: all predicted tokens");
  const size_t bars = report["ladder"].size() - 2;  // true cache and sender alone are lines
  EXPECT_EQ(count_of(plot, "<rect class=\"bar"), bars);
  EXPECT_EQ(count_of(plot, "class=\"interval\""), 3 * bars);
  EXPECT_EQ(count_of(plot, "class=\"reference\""), 2);
  json without = report;
  for (json& row : without["ladder"]) {
    for (const char* end : {"nll_low", "nll_high"}) row["all"].erase(end);
  }
  EXPECT_EQ(count_of(plot_of(to_html(without), "Ladder: all"), "interval\""), 0);
}

// At 2 nats between 1 and 3, a row keeps half.
TEST_F(HtmlReportTest, RetentionOfWindowsIsHalfway) {
  const std::string plot = plot_of(to_html(whole_report()), "Retention by token position");
  const std::regex line(R"re(class="reference" x1="\S+" y1="([\d.]+)")re");
  std::vector<double> lines;
  for (std::sregex_iterator found(plot.begin(), plot.end(), line), end; found != end; ++found) {
    lines.push_back(std::stod((*found)[1]));
  }
  ASSERT_EQ(lines.size(), 2);
  const std::regex circle(R"re(<circle class="marker series-0" cx="\S+" cy="([\d.]+)")re");
  size_t circles = 0;
  for (std::sregex_iterator found(plot.begin(), plot.end(), circle), end; found != end; ++found) {
    if (++circles > 2) break;  // the legend's follows
    EXPECT_NEAR(std::stod((*found)[1]), (lines[0] + lines[1]) / 2, 0.11);
  }
  EXPECT_EQ(circles, 3);  // 20 tokens: two windows of 8, and the legend
}

TEST_F(HtmlReportTest, TwoTokenizersAreComparedInBytes) {
  const std::string page = to_html(read("results/demo_cross_tokeniser.json"));
  EXPECT_THAT(plot_of(page, "Ladder: all predicted tokens"), HasSubstr("nats a byte, lower"));
  EXPECT_THAT(page, HasSubstr("only nats/byte, taken over the same bytes"));
}

TEST_F(HtmlReportTest, EnergyIsShownWhereItWasMeasured) {
  json report = whole_report();
  report["ladder_data"].erase("energy_source");
  for (json& row : report["ladder"]) row.erase("joules");
  EXPECT_THAT(to_html(report), Not(HasSubstr("Joules")));
  report["ladder_data"]["energy_source"] = "RAPL package-0";
  for (json& row : report["ladder"]) {
    row["joules"] = {{"prefill", 24.5}, {"project", nullptr}, {"continue", nullptr}};
  }
  EXPECT_THAT(to_html(report), HasSubstr("Joules a sequence: RAPL package-0"));
  EXPECT_THAT(to_html(report), HasSubstr("<td>24.50</td>"));
}

TEST_F(HtmlReportTest, UndefinedNumbersAreDashes) {
  json report = whole_report();
  for (json& row : report["ladder"]) {
    row["retention"] = row["retention_first16"] = row["kl"] = nullptr;
    row["nll_by_position"][3] = nullptr;
    row["first16"]["nll"] = nullptr;
  }
  const std::string page = to_html(report);
  EXPECT_EQ(plot_of(page, "Rate against quality"), "");
  EXPECT_EQ(plot_of(page, "Ladder: the first 16 tokens"), "");
  EXPECT_NE(plot_of(page, "Ladder: all predicted tokens"), "");
  EXPECT_THAT(page, HasSubstr("<td>–</td>"));
  EXPECT_THAT(page, Not(HasSubstr(">nan")));
  EXPECT_THAT(page, Not(HasSubstr(">null")));
}

TEST_F(HtmlReportTest, EscapesWhatItIsGiven) {
  const std::string bad = "<script>alert(\"1\")</script>&";
  json report = whole_report();
  report["warnings"] = {bad};
  report["recipe"]["run_folder"] = bad;
  report["machine"]["cpu"] = bad;
  report["gate"]["why"] = report["ladder_data"]["sender"] = bad;
  report["ladder"][0]["row"] = report["ladder"][0]["text"] = bad;
  report["certificates"]["rows"][0]["row"] = report["certificates"]["rows"][0]["text"] = bad;
  report["cost"]["rows"][0]["row"] = report["cost"]["rows"][0]["energy"] = bad;
  report["training"][0]["row"] = bad;
  report["reconstruction"]["rows"][0]["row"] = report["reconstruction"]["rows"][0]["text"] = bad;
  EXPECT_THAT(to_html(report), Not(HasSubstr("<script")));
  EXPECT_THAT(to_html(report), HasSubstr("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;"));
}

TEST_F(HtmlReportTest, RefusesWhatIsNoReport) {
  EXPECT_THROWS_WITH(to_html(json::array()), "report.json of schema 1, got array.");
  EXPECT_THROWS_WITH(to_html({{"schema", 2}}), "of schema 1, got schema 2. Write");
  EXPECT_THROWS_WITH(to_html(json::object()), "got schema null");
}

}  // namespace
}  // namespace kvalign
