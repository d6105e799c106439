// Checks of what callers pass: throws std::invalid_argument with a text made of the parts.
#pragma once

#include <sstream>
#include <stdexcept>

namespace kvalign {

template <class... Parts>
void check(bool correct, const Parts&... parts) {
  if (correct) return;
  std::ostringstream text;
  (text << ... << parts);
  throw std::invalid_argument(text.str());
}

}  // namespace kvalign
