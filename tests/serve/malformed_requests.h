// Requests that are wrong, each in a way that is known: what a server must refuse.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace kvalign::testing {

// The engine's numbers are fixed by the C++ standard, a distribution's are not.
class Draw {
 public:
  explicit Draw(uint64_t seed) : engine_(seed) {}
  size_t below(size_t bound) { return static_cast<size_t>(engine_() % bound); }
  std::string one_of(const std::vector<std::string>& choices) {
    return choices[below(choices.size())];
  }
  std::string letters(size_t count) {
    std::string text(count, ' ');
    for (char& byte : text) byte = static_cast<char>('a' + below(26));
    return text;
  }

 private:
  std::mt19937_64 engine_;
};

// A request with a binary tensor, which a server answers with 200.
std::string good_request();

// HTTP that is none, or that two readers would read in two ways.
std::string malformed_http(Draw& draw);
// Good HTTP around JSON that is none, or no request.
std::string malformed_json(Draw& draw);
// Good HTTP and good JSON whose sizes do not fit what is there.
std::string malformed_sizes(Draw& draw);

}  // namespace kvalign::testing
