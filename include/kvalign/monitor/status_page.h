// The page that a server shows to people at "/".
#pragma once

#include <string>

#include "kvalign/format/export.h"

namespace kvalign {

/// A page of HTML that needs no other file: its script asks for `status`, relative to itself, every
/// two seconds, and shows what Monitor::status_json() says. A Content-Security-Policy in it allows
/// its own style and script by their hashes and requests to its own origin, nothing else.
KVALIGN_API std::string status_page();

}  // namespace kvalign
