// CRC-32C against the vectors of RFC 3720, appendix B.4.
#include "kvalign/format/checksum.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string_view>
#include <vector>

namespace kvalign {
namespace {

uint32_t checksum(const std::vector<uint8_t>& bytes) {
  return crc32c(bytes.data(), bytes.size());
}

TEST(Crc32c, MatchesTheVectorsOfRfc3720) {
  std::vector<uint8_t> rising(32);
  std::iota(rising.begin(), rising.end(), 0);
  const std::vector<uint8_t> falling(rising.rbegin(), rising.rend());
  EXPECT_EQ(checksum(std::vector<uint8_t>(32, 0x00)), 0x8A9136AAu);
  EXPECT_EQ(checksum(std::vector<uint8_t>(32, 0xFF)), 0x62A8AB43u);
  EXPECT_EQ(checksum(rising), 0x46DD794Eu);
  EXPECT_EQ(checksum(falling), 0x113FDB5Cu);
}

TEST(Crc32c, MatchesTheCheckValueOfTheCatalogue) {
  const std::string_view text = "123456789";
  EXPECT_EQ(crc32c(text.data(), text.size()), 0xE3069283u);
  EXPECT_EQ(crc32c(nullptr, 0), 0u);
}

TEST(Crc32c, SeesEverySingleFlippedBit) {
  std::vector<uint8_t> bytes(37, 0x5A);
  const uint32_t untouched = checksum(bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    EXPECT_NE(checksum(bytes), untouched) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }
}

}  // namespace
}  // namespace kvalign
