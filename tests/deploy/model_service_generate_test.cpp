// Text after a packet, against PacketReceiver's own continuation; and what happens where a packet
// cannot be used.
#include <future>

#include "kvalign/deploy/model_service.h"
#include "kvalign/deploy/packet_receiver.h"
#include "kvalign/model/detokeniser.h"
#include "tests/deploy/model_service_fixture.h"

namespace kvalign {
namespace {

using namespace testing;

class GenerateTest : public ModelServiceFixture {
 protected:
  ModelServiceOptions options() const {
    return {.models = {"m=" + checkpoint_}, .receivers = {"m=" + kDemoReceiver}};
  }
  static ServeRequest request(const std::string& packet, int64_t max_tokens = 6) {
    return {.model = "m",
            .inputs = {served_packet(packet)},
            .parameters = {{"max_tokens", max_tokens}}};
  }
  // Everything that the sink is given.
  struct Pieces {
    std::vector<int64_t> ids;
    std::string text;
    PieceSink sink = [this](const GeneratedPiece& piece) {
      ids.push_back(piece.token_id);
      text += piece.text;
      return true;
    };
  };
  static std::vector<int64_t> greedily(const std::optional<KvCache>& cache, const at::Tensor& ids,
                                       int64_t num_tokens) {
    return generate_greedily(receiver(), cache, ids, num_tokens, /*end_token=*/0);
  }

  const std::string checkpoint_ = save_pair();
};

TEST_F(GenerateTest, GoesOnAsPacketReceiverDoes) {
  const auto service = make_model_service(options());
  const std::string packet = pair_packet();
  const std::vector<int64_t> expected =
      PacketReceiver(checkpoint_, kDemoReceiver).continue_greedily(decode_packet(packet), 6);
  Pieces pieces;
  const ServeResponse response = service->generate(request(packet), pieces.sink);
  EXPECT_EQ(response.outcome, CacheOutcome::kApplied);
  EXPECT_EQ(response.record.generated_tokens, 6);
  EXPECT_EQ(pieces.ids, expected);
  EXPECT_EQ(pieces.text, Detokeniser::open(kDemoReceiver).text(expected));
  EXPECT_EQ(response.certificate["wire"], "float8_e4m3fn/token");
  EXPECT_TRUE(response.outputs.empty());
  EXPECT_TRUE(response.record.phase_seconds.contains("continue"));
}

TEST_F(GenerateTest, StopsWhenTheSinkSaysSo) {
  const auto service = make_model_service(options());
  int pieces = 0;
  const ServeResponse response = service->generate(
      request(pair_packet()), [&](const GeneratedPiece&) { return ++pieces < 2; });
  EXPECT_EQ(pieces, 2);
  EXPECT_EQ(response.record.generated_tokens, 2);
}

TEST_F(GenerateTest, ReadsTheTextWhereTheCacheCannotBeUsed) {
  ModelServiceOptions strict = options();
  strict.guard.max_raw_norm = 1e-3;
  const auto service = make_model_service(strict);
  Pieces pieces;
  const ServeResponse without_ids = service->generate(request(pair_packet()), pieces.sink);
  EXPECT_EQ(without_ids.outcome, CacheOutcome::kFallbackReprefill);
  EXPECT_EQ(without_ids.record.generated_tokens, 0);
  EXPECT_TRUE(pieces.ids.empty());

  const std::vector<int64_t> expected = greedily(std::nullopt, ids_T(), 6);
  const ServeResponse in_packet =
      service->generate(request(pair_packet({.all_token_ids = true})), pieces.sink);
  EXPECT_EQ(in_packet.outcome, CacheOutcome::kFallbackReprefill);
  EXPECT_EQ(in_packet.record.reason, "norm");
  EXPECT_EQ(pieces.ids, expected);

  Pieces beside;
  ServeRequest with_ids = request(pair_packet());
  with_ids.inputs.push_back(served_input("token_ids", "INT32", ids_T().to(at::kInt)));
  service->generate(with_ids, beside.sink);
  EXPECT_EQ(beside.ids, expected);
}

// Batches wait for requests that are being read, not for a receiver that reads and writes.
TEST_F(GenerateTest, NobodyWaitsForATextThatNeedsNoProjection) {
  ModelServiceOptions strict = options();
  strict.guard.max_raw_norm = 1e-3;
  strict.batch.wait_ms = 1000;
  const auto service = make_model_service(strict);
  std::promise<void> writing, hold;
  auto text = std::async(std::launch::async, [&] {
    bool told = false;
    return service->generate(request(pair_packet({.all_token_ids = true}), 2),
                             [&](const GeneratedPiece&) {
                               if (!std::exchange(told, true)) {
                                 writing.set_value();
                                 hold.get_future().wait();
                               }
                               return true;
                             });
  });
  writing.get_future().wait();
  const int64_t num_values = sender_streams().size(0) * sender_streams().size(2);
  const ServeResponse other = service->infer(
      {.model = "m", .inputs = {served_input("features", "FP32", at::zeros({64, num_values}))}});
  hold.set_value();
  EXPECT_EQ(other.outcome, CacheOutcome::kApplied);
  EXPECT_LT(other.record.phase_seconds.at("queue"), 0.5);
  EXPECT_EQ(text.get().outcome, CacheOutcome::kFallbackReprefill);
}

TEST_F(GenerateTest, AnotherModelsTextIsNotRead) {
  const auto service = make_model_service(options());
  KvGeometry other = sender().geometry();
  other.rope->theta *= 2;
  const std::string packet = encode_packet(other, sender_streams(), ids_T().to(at::kInt),
                                           {.num_sinks = 2, .num_reread = 2, .all_token_ids = true})
                                 .bytes;
  Pieces pieces;
  const ServeResponse response = service->generate(request(packet), pieces.sink);
  EXPECT_EQ(response.outcome, CacheOutcome::kUnsupported);
  EXPECT_TRUE(pieces.ids.empty());
}

TEST_F(GenerateTest, RefusesWhatCannotGoOn) {
  const auto service = make_model_service(options());
  Pieces pieces;
  const auto refuses = [&](const ServeRequest& bad, const std::string& text) {
    const ServeRefusal refusal = refusal_of([&] { service->generate(bad, pieces.sink); });
    EXPECT_EQ(refusal.status, 400);
    EXPECT_THAT(std::string(refusal.what()), ::testing::HasSubstr(text));
  };
  refuses(request(pair_packet(), 257), "max_tokens: expected 1 .. 256, got 257");
  refuses(request(pair_packet(), 0), "got 0");
  refuses(request(pair_packet({.position_offset = 3})), "got position_offset 3");
  const std::string no_reread =
      encode_packet(sender().geometry(), sender_streams(), ids_T().to(at::kInt), {.num_sinks = 2})
          .bytes;
  refuses(request(no_reread), "0 re-read tokens");
  EXPECT_TRUE(pieces.ids.empty());
}

TEST_F(GenerateTest, LimitsTextsAtOnce) {
  ModelServiceOptions one = options();
  one.generate.concurrent = 1;
  const auto service = make_model_service(one);
  std::promise<void> writing, hold;
  auto first = std::async(std::launch::async, [&] {
    bool told = false;
    return service->generate(request(pair_packet(), 2), [&](const GeneratedPiece&) {
      if (!std::exchange(told, true)) {
        writing.set_value();
        hold.get_future().wait();
      }
      return true;
    });
  });
  writing.get_future().wait();
  Pieces pieces;
  const ServeRefusal refusal =
      refusal_of([&] { service->generate(request(pair_packet()), pieces.sink); });
  EXPECT_EQ(refusal.status, 503);
  EXPECT_EQ(refusal.label, "busy");
  // Draining waits for the one that is being written.
  auto stopped = std::async(std::launch::async, [&] { service->stop(); });
  EXPECT_EQ(stopped.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  hold.set_value();
  EXPECT_EQ(first.get().record.generated_tokens, 2);
  stopped.get();
}

TEST_F(GenerateTest, ShadowsMeasureTheErrorAfterwards) {
  ModelServiceOptions shadowed = options();
  shadowed.shadow.rate = 0.5;
  const auto service = make_model_service(shadowed);
  std::promise<RequestRecord> measured;
  service->set_shadow_sink([&](const RequestRecord& record) { measured.set_value(record); });
  const std::string packet = pair_packet({.all_token_ids = true});
  const ServeRequest infer{.model = "m", .inputs = {served_packet(packet)}};
  EXPECT_FALSE(service->infer(infer).record.measured_error.has_value());
  service->infer(infer);  // every second one is drawn
  const RequestRecord record = measured.get_future().get();
  EXPECT_EQ(record.method, "shadow");
  EXPECT_EQ(record.tokens, 8);
  const at::NoGradGuard no_gradients;
  const at::Tensor projected_RTD =
      projected(checkpoint_, decode_packet(packet).values_TMW.transpose(0, 1).contiguous());
  const at::Tensor true_RTD = receiver()
                                  .forward({.token_ids_BT = ids_T().unsqueeze(0), .num_logits = 0})
                                  .cache->streams()
                                  .narrow(1, 2, 8);
  double mean = 0;
  for (int64_t stream = 0; stream < 10; ++stream) {
    mean += ((projected_RTD[stream] - true_RTD[stream]).norm() / true_RTD[stream].norm())
                .item<double>() /
            10;
  }
  EXPECT_NEAR(record.measured_error.value(), mean, 1e-4 * mean);
}

}  // namespace
}  // namespace kvalign
