// Numbers as the tables of a report have them. Private to evaluate/.
#pragma once

#include <string>

namespace kvalign {

// Four decimals, or three digits where those say nothing; "-" where undefined.
std::string format_number(double value);

// Three digits: "0.0123", "1.23e-05".
std::string format_short(double value);

// "2109440.5" -> "2,109,440.5"
std::string with_commas(std::string digits);

}  // namespace kvalign
