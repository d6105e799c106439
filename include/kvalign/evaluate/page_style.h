// How every page of the project looks: report.html and the server's status page.
#pragma once

#include <string>

#include "kvalign/format/export.h"

namespace kvalign {

/// A style sheet with plot_style() in it (svg_plot.h): light and dark by what the reader's screen
/// asks for, and printed in black on white.
KVALIGN_API std::string page_style();

}  // namespace kvalign
