// Good packets, the values that their fields may and may not have, and checksums that fit again.
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/mutate.h"
#include "tests/support/packet_examples.h"
#include "tests/support/packet_records.h"

namespace kvalign::testing {

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (const PacketHeader& header :
       {latent_header(), token_scales_header(), block_scales_header()}) {
    const Bytes packet = example_packet(header);
    seeds.emplace_back(packet.begin(), packet.end());
  }
  return seeds;
}

std::vector<std::string_view> fuzz_tokens() {
  using namespace std::string_view_literals;
  return {"CHNK"sv,
          "END."sv,
          "\x00"sv,
          "\x01"sv,
          "\x02"sv,
          "\x03"sv,
          "\x04"sv,
          "\x05"sv,
          "\xff"sv,
          "\x00\x00\x00\x00"sv,
          "\x01\x00\x00\x00"sv,
          "\x00\x00\x00\x80"sv,
          "\xff\xff\xff\xff"sv,
          "\x00\x00\x00\x00\x00\x00\x00\x80"sv,
          "\xff\xff\xff\xff\xff\xff\xff\x7f"sv,
          "\xff\xff\xff\xff\xff\xff\xff\xff"sv};
}

void mend(std::string& file, size_t) {
  Bytes packet(file.begin(), file.end());
  seal_records(packet);
  file.assign(packet.begin(), packet.end());
}

}  // namespace kvalign::testing
