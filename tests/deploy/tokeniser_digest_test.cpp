// The digest of a folder's tokeniser, against what scripts/capture wrote into datasets.
#include "src/deploy/tokeniser_digest.h"

#include <gtest/gtest.h>

#include <fstream>

#include "kvalign/core/temporary_folder.h"
#include "tests/support/python.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

const std::string kDemoReceiver = KVALIGN_SOURCE_DIR "/demo/receiver";

TEST(TokeniserDigestTest, IsThatOfTheCapture) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const TemporaryFolder folder;
  ASSERT_EQ(run_python("import sys; sys.path.insert(0, sys.argv[1]); import tokenizers; "
                       "from capture.tokens import backend_digest; "
                       "backend = tokenizers.Tokenizer.from_file(sys.argv[2]); "
                       "open(sys.argv[3], \"w\").write(backend_digest(backend))",
                       KVALIGN_SOURCE_DIR "/scripts " + kDemoReceiver + "/tokenizer.json " +
                           folder.file("digest")),
            0);
  std::string expected;
  std::ifstream(folder.file("digest")) >> expected;
  EXPECT_EQ(tokeniser_digest(kDemoReceiver), expected);
}

TEST(TokeniserDigestTest, SaysWhereThereIsNone) {
  const TemporaryFolder folder;
  EXPECT_THROWS_WITH(tokeniser_digest(folder.path()), "tokenizer.json");
  std::ofstream(folder.file("tokenizer.json")) << "[]";
  EXPECT_THROWS_WITH(tokeniser_digest(folder.path()), "expected a JSON object");
}

}  // namespace
}  // namespace kvalign
