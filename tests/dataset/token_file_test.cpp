// Token files: what is written is read, and each way to be wrong is refused by name.
#include "kvalign/dataset/token_file.h"

#include <gtest/gtest.h>

#include "kvalign/core/temporary_folder.h"
#include "tests/support/throws.h"
#include "tests/support/token_file.h"

namespace kvalign {
namespace {

TokenFile read(const TestTokens& tokens) {
  const TemporaryFolder folder;
  tokens.write(folder.file("t.safetensors"));
  return read_token_file(folder.file("t.safetensors"));
}

TEST(TokenFile, OneTokeniserIsBothSides) {
  TestTokens tokens = make_test_tokens({5, 3, 4}, 64);
  tokens.tensors.push_back({"labels", at::tensor(std::vector<int64_t>{0, 0, 2}, at::kLong)});
  const TokenFile file = read(tokens);
  EXPECT_TRUE(file.one_tokenizer);
  EXPECT_EQ(file.num_sequences(), 3);
  EXPECT_EQ(file.documents, (std::vector<int64_t>{0, 0, 1}));
  EXPECT_EQ(file.document_sha256.at(1), std::string(64, 'b'));
  EXPECT_EQ(file.labels, (std::vector<int64_t>{0, 0, 2}));
  EXPECT_EQ(file.source, R"({"seed":7})");
  EXPECT_FALSE(file.alignment(0).defined());
  for (const TokenSide* side : {&file.sender, &file.receiver}) {
    EXPECT_EQ(side->tokenizer_sha256, std::string(64, '1'));
    const TokenSequence sequence = side->sequence(1);
    EXPECT_TRUE(at::equal(sequence.token_ids, tokens.tensor("token_ids").narrow(0, 5, 3)));
    EXPECT_TRUE(at::equal(sequence.ends, tokens.tensor("token_ends").narrow(0, 5, 3)));
  }
}

TEST(TokenFile, TwoTokenisersAreAligned) {
  TestTokens tokens = make_test_tokens({5, 3, 4}, 64, {2, 9, 1});
  const TokenFile file = read(tokens);
  EXPECT_FALSE(file.one_tokenizer);
  EXPECT_EQ(file.sender.tokenizer_sha256, std::string(64, '2'));
  EXPECT_EQ(file.sender.sequence(1).token_ids.size(0), 9);
  EXPECT_TRUE(file.labels.empty());
  EXPECT_TRUE(at::equal(file.alignment(1),
                        align_tokens(tokens.tensor("sender.token_ends").narrow(0, 2, 9),
                                     tokens.tensor("receiver.token_ends").narrow(0, 5, 3))));
  EXPECT_THROWS_WITH(file.receiver.sequence(3), "expected a sequence from 0 to 2, got 3");
}

void expect_refused(const std::function<void(TestTokens&)>& edit, const std::string& text,
                    const std::vector<int64_t>& sender_lengths = {}) {
  TestTokens tokens = make_test_tokens({5, 3, 4}, 64, sender_lengths);
  edit(tokens);
  EXPECT_THROWS_WITH(read(tokens), "t.safetensors: " + text);
}

TEST(TokenFile, RefusesWrongMetadata) {
  const TemporaryFolder folder;
  write_safetensors(folder.file("t.safetensors"), {});
  EXPECT_THROWS_WITH(read_token_file(folder.file("t.safetensors")),
                     "metadata: expected a key \"kvalign\", found none. Is it a token file");
  write_safetensors(folder.file("t.safetensors"), {}, {{"kvalign", "{"}});
  EXPECT_THROWS_WITH(read_token_file(folder.file("t.safetensors")),
                     "metadata kvalign: not valid JSON");
  EXPECT_THROWS_WITH(read_token_file(folder.file("absent")), "absent");
  const auto refused = [](const std::function<void(nlohmann::json&)>& edit,
                          const std::string& text) {
    expect_refused([&](TestTokens& tokens) { edit(tokens.metadata); }, "metadata kvalign: " + text);
  };
  refused([](auto& json) { json["schema"] = 2; },
          "expected \"schema\": 1, got 2. Is it a token file of a newer version");
  refused([](auto& json) { json["maker"] = 2; }, "unknown key \"maker\"; known: schema");
  refused([](auto& json) { json.erase("created_by"); }, "missing key \"created_by\"");
  refused([](auto& json) { json["created_by"] = 2; }, "created_by: expected a string, got 2");
  refused([](auto& json) { json["tokenizers"]["sender"] = "1"; },
          "tokenizers: sender: expected 64 lower-case hexadecimal digits, got \"1\"");
  refused([](auto& json) { json["tokenizers"]["sender"] = std::string(64, '2'); },
          "tokenizers: expected one tokenizer for token_ids that both models read, got 22");
  refused([](auto& json) { json["documents"][1] = 5; }, "documents[1]: expected 64 lower-case");
  refused([](auto& json) { json["source"] = "me"; }, "source: expected an object, got \"me\"");
}

TEST(TokenFile, RefusesWrongTensors) {
  expect_refused([](auto& t) { t.erase("token_ends"); },
                 "token_ends: missing tensor; expected I32 [12]");
  expect_refused([](auto& t) { t.tensor("token_ids") = t.tensor("token_ids").to(at::kLong); },
                 "token_ids: expected I32 [tokens], got I64 [12]");
  expect_refused([](auto& t) { t.tensor("token_ids")[3] = -2; },
                 "token_ids: expected ids from 0, got -2");
  expect_refused([](auto& t) { t.tensor("token_ends")[3] = 99; },
                 "token_ends: expected bytes that never decrease, got 99 and then 40 at token 4 of "
                 "sequence 0");
  expect_refused([](auto& t) { t.tensor("token_ends")[5] = -1; },
                 "token_ends: expected bytes that never decrease, got 0 and then -1 at token 0");
  expect_refused([](auto& t) { t.tensor("sequence_offsets")[1] = 8; },
                 "sequence_offsets: expected to increase strictly, got 8 and then 8 at sequence 1");
  expect_refused([](auto& t) { t.tensor("sequence_offsets")[3] = 13; },
                 "sequence_offsets: expected to start at 0 and to end at the file's 12 tokens, got "
                 "0 and 13");
  expect_refused([](auto& t) { t.tensor("sequence_offsets") = at::zeros({1}, at::kLong); },
                 "sequence_offsets: expected at least one sequence, got 1 offsets");
  expect_refused([](auto& t) { t.tensor("document_ids")[1] = 2; },
                 "document_ids: expected numbers from 0 to 1, got 2 at sequence 1");
  expect_refused(
      [](auto& t) {
        t.tensors.push_back({"labels", at::full({3}, -1, at::kLong)});
      },
      "labels: expected numbers from 0, got -1 at sequence 0");
  expect_refused(
      [](auto& t) {
        t.tensors.push_back({"sender.token_ids", at::zeros({2})});
      },
      "sender.token_ids: unexpected tensor. Tokens are either those of both models");
}

TEST(TokenFile, RefusesSidesThatDiffer) {
  expect_refused([](auto& t) { t.erase("sender.token_ids"); }, "sender.token_ids: missing tensor",
                 {2, 9, 1});
  expect_refused([](auto& t) {},
                 "sender.sequence_offsets: expected as many sequences as the "
                 "receiver's 3, got 2",
                 {6, 6});
  expect_refused([](auto& t) { t.tensor("sender.token_ends")[10] = 41; },
                 "sender.token_ends: expected both sides of a sequence to cover the same text, got "
                 "41 bytes and the receiver's 40 of sequence 1",
                 {2, 9, 1});
}

}  // namespace
}  // namespace kvalign
