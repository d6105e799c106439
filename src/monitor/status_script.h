// The status page's script. Private to monitor/.
#pragma once

namespace kvalign {

// Fills the elements of status_page.cpp, by their ids, from the JSON of status.cpp.
extern const char* const kStatusScript;

}  // namespace kvalign
