// Numbers as the tables of a report have them. Private to evaluate/.
#pragma once

#include <cstdint>
#include <string>

#include "kvalign/evaluate/bootstrap.h"

namespace kvalign {

// Four decimals, or three digits where those say nothing; "-" where undefined.
std::string format_number(double value);

// Three digits: "0.0123", "1.23e-05".
std::string format_short(double value);

// Three digits with a prefix of the SI: 3.31e-6 and "s" give "3.31 µs".
std::string with_prefix(double value, const std::string& unit);

// "2109440.5" -> "2,109,440.5"
std::string with_commas(std::string digits);
std::string with_commas(int64_t number);

// "0.8123 [0.8011, 0.8240]"; the figure alone where there is no interval.
std::string format_interval(const Interval& interval);

// "- " before each line, for Markdown; every line ends with a line break.
std::string markdown_list(const std::string& lines);

}  // namespace kvalign
