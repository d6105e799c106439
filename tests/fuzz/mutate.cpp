// Runs a libFuzzer entry point on a fixed number of mutated seeds, for compilers without libFuzzer.
// No coverage feedback: seeds are good files, and the mutations know what a header is made of.
// Usage: PROGRAM COUNT [SEED]; a finding ends the program through the sanitiser or an escaped
// exception.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "kvalign/core/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);

namespace {

using kvalign::Random;

// What headers are made of, and numbers at which checks go wrong.
constexpr std::string_view kTokens[] = {"{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        "\"",
                                        "\\",
                                        "\\u0000",
                                        "\xff",
                                        " ",
                                        "null",
                                        "true",
                                        "-1",
                                        "0",
                                        "1",
                                        "2",
                                        "4",
                                        "8",
                                        "0.5",
                                        "1e9",
                                        "-0",
                                        "16",
                                        "255",
                                        "65536",
                                        "\"dtype\"",
                                        "\"shape\"",
                                        "\"data_offsets\"",
                                        "\"__metadata__\"",
                                        "\"F32\"",
                                        "\"BOOL\"",
                                        "\"F8_E4M3\"",
                                        "\"I64\"",
                                        "\"a\"",
                                        "2147483648",
                                        "4294967296",
                                        "4611686018427387904",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "18446744073709551615",
                                        "18446744073709551616"};

std::string with_length(const std::string& header, size_t data_size) {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  return file + header + std::string(data_size, '\1');
}

std::vector<std::string> seeds() {
  const std::string metadata = R"("__metadata__":{"format":"pt","step":"12"})";
  const std::string matrix = R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]})";
  const std::string codes = R"("b":{"dtype":"F8_E4M3","shape":[5],"data_offsets":[24,29]})";
  const std::string flags = R"("c":{"dtype":"BOOL","shape":[1,1],"data_offsets":[29,30]})";
  const std::string empty = R"("d":{"dtype":"I64","shape":[0,7],"data_offsets":[30,30]})";
  return {with_length("{}", 0), with_length("{" + metadata + "}   ", 0),
          with_length("{" + matrix + "}", 24),
          with_length("{" + metadata + "," + matrix + "," + codes + "," + flags + "," + empty + "}",
                      30)};
}

// One random edit at a random place; places in the header are as likely as in a file without data.
void mutate(std::string& file, Random& random) {
  const auto place = [&] {
    return static_cast<size_t>(random.below(static_cast<int64_t>(file.size()) + 1));
  };
  const std::string_view token = kTokens[random.below(std::size(kTokens))];
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
      file.erase(at, static_cast<size_t>(random.below(16)));
      break;
    case 5:  // repeat some bytes
      file.insert(at, file.substr(place(), static_cast<size_t>(random.below(64))));
      break;
    default:  // cut the file short
      file.resize(at);
  }
}

// After an edit of the header its length field is wrong, and nothing behind that check would be
// reached.
void repair_length(std::string& file, size_t data_size) {
  if (file.size() < 8 + data_size) return;
  const uint64_t length = file.size() - 8 - data_size;
  std::memcpy(file.data(), &length, sizeof length);
}

}  // namespace

int main(int argc, char** argv) {
  const long count = argc > 1 ? std::atol(argv[1]) : 1000;
  Random random(argc > 2 ? static_cast<uint64_t>(std::atoll(argv[2])) : 1);
  const std::vector<std::string> good_files = seeds();
  const size_t data_sizes[] = {0, 0, 24, 30};
  for (long i = 0; i < count; ++i) {
    const auto seed = static_cast<size_t>(random.below(static_cast<int64_t>(good_files.size())));
    std::string file = good_files[seed];
    for (int64_t edits = 1 + random.below(4); edits > 0; --edits) mutate(file, random);
    if (random.below(4) != 0) repair_length(file, data_sizes[seed]);
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(file.data()), file.size());
  }
  std::printf("%ld mutated inputs\n", count);
  return 0;
}
