// Each check of the guard fires, and says so.
#include <nlohmann/json.hpp>

#include "kvalign/core/files.h"
#include "kvalign/dataset/generator.h"
#include "kvalign/deploy/input_statistics.h"
#include "kvalign/deploy/model_service.h"
#include "tests/deploy/model_service_fixture.h"
#include "tests/support/packet_records.h"

namespace kvalign {
namespace {

using namespace testing;

class GuardTest : public ModelServiceFixture {
 protected:
  void expect_finding(const ServeResponse& response, CacheOutcome outcome, const std::string& label,
                      const std::string& text) {
    EXPECT_EQ(response.outcome, outcome) << label;
    EXPECT_EQ(response.record.outcome, outcome);
    EXPECT_EQ(response.record.reason, label);
    EXPECT_THAT(response.reason, ::testing::HasSubstr(text));
    EXPECT_TRUE(response.outputs.empty());
    EXPECT_TRUE(response.certificate.is_null());
  }
  static ServeRequest features(const at::Tensor& rows) {
    return {.model = "m", .inputs = {served_input("features", "FP32", rows)}};
  }
  static ServeRequest codes(const at::Tensor& codes_TF, const at::Tensor& scales_TM) {
    return {.model = "m",
            .inputs = {served_input("codes", "UINT8", codes_TF),
                       served_input("scales", "FP32", scales_TM)}};
  }
  std::unique_ptr<ModelService> flat_service(const GuardOptions& guard = {}) const {
    return make_model_service({.models = {"m=" + save_flat()}, .guard = guard});
  }
};

TEST_F(GuardTest, AnotherModelsPacketIsUnsupported) {
  const auto service = make_model_service({.models = {"m=" + save_pair()}});
  KvGeometry other = sender().geometry();
  other.rope->theta *= 2;
  const std::string packet =
      encode_packet(other, sender_streams(), ids_T().to(at::kInt), {.element = "f32"}).bytes;
  expect_finding(service->infer({.model = "m", .inputs = {served_packet(packet)}}),
                 CacheOutcome::kUnsupported, "geometry", "got another geometry_id");
}

TEST_F(GuardTest, NumbersThatAreNoneFallBack) {
  const auto service = flat_service();
  at::Tensor rows = random_rows({4, 16});
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    rows[2][5] = bad;
    expect_finding(service->infer(features(rows)), CacheOutcome::kFallbackReprefill, "not_finite",
                   "got NaN or infinity at token 2");
  }
  at::Tensor codes_TF = at::full({2, 16}, 0x30, at::kByte);
  codes_TF[1][3] = 0x7F;
  expect_finding(service->infer(codes(codes_TF, at::ones({2, 1}))),
                 CacheOutcome::kFallbackReprefill, "not_finite", "a code that is none at 19");
  codes_TF[1][3] = 0x30;
  expect_finding(service->infer(codes(codes_TF, at::tensor({1.0f, -1.0f}).unsqueeze(1))),
                 CacheOutcome::kFallbackReprefill, "not_finite", "a scale that is none at 1");

  // A sound packet of which one code is NaN.
  const std::string packet = pair_packet();
  std::vector<uint8_t> bytes(packet.begin(), packet.end());
  ReadPacket read;
  ASSERT_EQ(read_whole({bytes.data(), bytes.size()}, read), PacketStatus::kOk);
  bytes[static_cast<size_t>(read.chunks[0].codes.data - bytes.data())] = 0x7F;
  seal_records(bytes);
  const auto pair = make_model_service({.models = {"m=" + save_pair()}});
  expect_finding(
      pair->infer({.model = "m", .inputs = {served_packet({bytes.begin(), bytes.end()})}}),
      CacheOutcome::kFallbackReprefill, "not_finite", "expected finite numbers");
}

TEST_F(GuardTest, SaturatedCodesFallBack) {
  const auto service = flat_service({.max_saturated = 0.1});
  at::Tensor codes_TF = at::full({10, 16}, 0x30, at::kByte);
  // The one largest code that a token's own scale makes does not count; 16 of 160 are allowed.
  codes_TF.select(1, 0).fill_(0x7E);
  codes_TF.select(1, 1).fill_(0xFE);
  codes_TF[0].narrow(0, 2, 6).fill_(0x7E);
  const ServeResponse within = service->infer(codes(codes_TF, at::ones({10, 1})));
  EXPECT_EQ(within.outcome, CacheOutcome::kApplied);
  EXPECT_EQ(within.record.saturated, 16);
  EXPECT_EQ(within.record.elements, 160);
  codes_TF[1][2] = 0x7E;
  const ServeResponse beyond = service->infer(codes(codes_TF, at::ones({10, 1})));
  expect_finding(beyond, CacheOutcome::kFallbackReprefill, "saturated",
                 "expected at most 10 % saturated codes, got 10.625 %");
  EXPECT_EQ(beyond.record.saturated, 17);
}

TEST_F(GuardTest, RawNormsAreLimitedWhereAsked) {
  const auto service = flat_service({.max_raw_norm = 10});
  at::Tensor rows = at::ones({3, 16});
  EXPECT_EQ(service->infer(features(rows)).outcome, CacheOutcome::kApplied);
  rows[1].fill_(3);
  expect_finding(service->infer(features(rows)), CacheOutcome::kFallbackReprefill, "norm",
                 "expected tokens of norm at most 10, got 12 at token 1");
}

TEST_F(GuardTest, NormsAreInUnitsOfTraining) {
  const std::string path = save_flat();
  const std::string statistics = folder_.file("statistics.safetensors");
  save_input_statistics(statistics, {.mean_F = at::full({16}, 100.0f),
                                     .scale_F = at::full({16}, 2.0f),
                                     .largest_token_rms = 1.5,
                                     .checkpoint = sha256_of_file(path)});
  const auto service = make_model_service(
      {.models = {"m=" + path}, .statistics = {"m=" + statistics}, .guard = {.max_norm = 2}});
  const ServeResponse within = service->infer(features(at::full({2, 16}, 106.0f)));  // rms 3
  EXPECT_EQ(within.outcome, CacheOutcome::kApplied);
  EXPECT_NEAR(within.record.drift_score.value(), std::log(9.0), 1e-6);
  const ServeResponse beyond = service->infer(features(at::zeros({2, 16})));  // rms 50
  expect_finding(beyond, CacheOutcome::kFallbackReprefill, "norm",
                 "expected tokens of norm at most 2 times the largest in training, got 33.3");
  EXPECT_NEAR(beyond.record.drift_score.value(), std::log(2500.0), 1e-6);
}

TEST_F(GuardTest, TheSendersTokeniserAndRevisionAreThoseOfTheDataset) {
  GeneratorOptions options;
  options.sender.head_dim = 16;
  options.receiver.head_dim = 24;
  options.num_sequences = 4;
  options.tokens_per_sequence = 3;
  generate_paired_dataset(options, folder_.file("data"));
  nlohmann::json index = nlohmann::json::parse(read_file(folder_.file("data/index.json")));
  index["sender"]["tokenizer_sha256"] = sha256_hex("tokenizer");
  index["sender"]["revision"] = "r1";
  write_file_atomically(folder_.file("data/index.json"), index.dump());
  const std::string path =
      save("m", flat(16), flat(24), {}, sha256_of_file(folder_.file("data/index.json")));
  const auto service =
      make_model_service({.models = {"m=" + path}, .datasets = {"m=" + folder_.file("data")}});
  ServeRequest request = features(random_rows({2, 16}));
  request.parameters = {{"tokenizer_sha256", sha256_hex("tokenizer")}, {"sender_revision", "r1"}};
  EXPECT_EQ(service->infer(request).outcome, CacheOutcome::kApplied);
  request.parameters["sender_revision"] = "r2";
  expect_finding(service->infer(request), CacheOutcome::kUnsupported, "revision",
                 "expected sender_revision r1, got r2");
  request.parameters["tokenizer_sha256"] = "other";
  expect_finding(service->infer(request), CacheOutcome::kUnsupported, "tokenizer", "got other");
  request.parameters["tokenizer_sha256"] = 7;
  EXPECT_EQ(refusal_of([&] { service->infer(request); }).status, 400);
}

}  // namespace
}  // namespace kvalign
