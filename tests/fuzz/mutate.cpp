// Runs a libFuzzer entry point on a fixed number of mutated seeds, for compilers without libFuzzer.
// No coverage feedback: seeds are good files, and the mutations know what a file is made of.
// Usage: PROGRAM COUNT [SEED]; a finding ends the program through the sanitiser, an escaped
// exception or abort().
#include "tests/fuzz/mutate.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);

namespace {

using kvalign::testing::fuzz_seeds;
using kvalign::testing::fuzz_tokens;

// The engine's numbers are fixed by the C++ standard, a distribution's are not.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  size_t below(size_t bound) { return static_cast<size_t>(engine_() % bound); }

 private:
  std::mt19937_64 engine_;
};

// One random edit at a random place; places in the header are as likely as in a file without data.
void mutate(std::string& file, std::string_view token, Random& random) {
  const auto place = [&] { return random.below(file.size() + 1); };
  const size_t at = place();
  switch (random.below(7)) {
    case 0:  // flip a bit
      if (at < file.size()) file[at] = static_cast<char>(file[at] ^ (1 << random.below(8)));
      break;
    case 1:  // insert a token
      file.insert(at, token);
      break;
    case 2:  // overwrite with a token
      file.replace(at, token.size(), token);
      break;
    case 3:  // replace a number
      for (size_t begin = at; begin < file.size(); ++begin) {
        if (file[begin] < '0' || file[begin] > '9') continue;
        const size_t end = file.find_first_not_of("0123456789", begin);
        file.replace(begin, end == std::string::npos ? end : end - begin, token);
        break;
      }
      break;
    case 4:  // remove some bytes
      file.erase(at, random.below(16));
      break;
    case 5:  // repeat some bytes
      file.insert(at, file.substr(place(), random.below(64)));
      break;
    default:  // cut the file short
      file.resize(at);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const long count = argc > 1 ? std::atol(argv[1]) : 1000;
  Random random(argc > 2 ? static_cast<uint64_t>(std::atoll(argv[2])) : 1);
  const std::vector<std::string> seeds = fuzz_seeds();
  const std::vector<std::string_view> tokens = fuzz_tokens();
  for (long i = 0; i < count; ++i) {
    const size_t seed = random.below(seeds.size());
    std::string file = seeds[seed];
    for (size_t edits = 1 + random.below(4); edits > 0; --edits) {
      mutate(file, tokens[random.below(tokens.size())], random);
    }
    if (random.below(4) != 0) kvalign::testing::mend(file, seed);
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(file.data()), file.size());
  }
  std::printf("%ld mutated inputs\n", count);
  return 0;
}
