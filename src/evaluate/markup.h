// Text on its way into HTML and SVG. Private to evaluate/.
#pragma once

#include <string>
#include <string_view>

namespace kvalign {

// `text` as a page shows it, in an element or a quoted attribute: & < > " and ' become entities.
std::string escape_markup(std::string_view text);

}  // namespace kvalign
