// What arrives and what is answered, against the library's own calls.
#include "kvalign/deploy/model_service.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "kvalign/core/files.h"
#include "kvalign/deploy/packet_certificate.h"
#include "kvalign/ops/fp8_quantizer.h"
#include "kvalign/train/encoder_export.h"
#include "tests/deploy/model_service_fixture.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using namespace testing;

class ModelServiceTest : public ModelServiceFixture {
 protected:
  static ServeRequest features(const at::Tensor& rows, const std::string& model = "flat") {
    const std::string type = rows.scalar_type() == at::kHalf       ? "FP16"
                             : rows.scalar_type() == at::kBFloat16 ? "BF16"
                                                                   : "FP32";
    return {.model = model, .inputs = {served_input("features", type, rows)}};
  }
  std::unique_ptr<ModelService> flat_service() const {
    return make_model_service({.models = {"flat=" + save_flat()}});
  }
  std::unique_ptr<ModelService> pair_service(const std::string& checkpoint) const {
    return make_model_service({.models = {"pair=" + checkpoint}});
  }
};

TEST_F(ModelServiceTest, FeaturesBecomeTheCacheOfTheLibrary) {
  const auto service = flat_service();
  EXPECT_TRUE(service->ready());
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const at::Tensor rows = random_rows({5, 16}).to(type);
    const ServeResponse response = service->infer(features(rows));
    EXPECT_EQ(response.outcome, CacheOutcome::kApplied);
    ASSERT_EQ(response.outputs.size(), 1u);
    EXPECT_EQ(response.outputs[0].name, "cache");
    EXPECT_EQ(response.outputs[0].shape, (std::vector<int64_t>{5, 24}));
    EXPECT_TRUE(tensor_of(response.outputs[0])
                    .equal(projected(save_flat(), rows.to(at::kFloat).unsqueeze(0))[0]));
    EXPECT_TRUE(response.certificate.is_null());
  }
}

TEST_F(ModelServiceTest, APacketBecomesKeysAndValues) {
  const std::string path = save_pair();
  const auto service = pair_service(path);
  const std::string packet = pair_packet();
  const ServeResponse response =
      service->infer({.model = "pair", .inputs = {served_packet(packet)}});
  ASSERT_EQ(response.outputs.size(), 2u);
  const at::Tensor arrived_STd = decode_packet(packet).values_TMW.transpose(0, 1).contiguous();
  const KvCache expected =
      KvCache::from_streams(receiver().geometry(), projected(path, arrived_STd));
  const at::Tensor keys = tensor_of(response.outputs[0]), values = tensor_of(response.outputs[1]);
  EXPECT_EQ(keys.sizes(), (at::IntArrayRef{5, 3, 8, 32}));
  for (int64_t layer = 0; layer < 5; ++layer) {
    EXPECT_TRUE(keys[layer].equal(expected.keys(layer)[0]));
    EXPECT_TRUE(values[layer].equal(expected.values(layer)[0]));
  }
  const ServeResponse one =
      service->infer({.model = "pair", .inputs = {served_packet(packet)}, .outputs = {"values"}});
  ASSERT_EQ(one.outputs.size(), 1u);
  EXPECT_TRUE(tensor_of(one.outputs[0]).equal(values));
}

TEST_F(ModelServiceTest, CodesAndScalesAreWhatThePacketHolds) {
  const std::string path = save_pair();
  const auto service = pair_service(path);
  const Fp8Streams sent = Fp8Quantizer(Fp8Format::kE4M3FN, ScaleGranularity::kToken, 2)
                              .quantise(sender_streams().narrow(1, 2, 8));
  const ServeResponse from_codes = service->infer(
      {.model = "pair",
       .inputs = {served_input("codes", "UINT8", sent.codes_STD.transpose(0, 1).flatten(1)),
                  served_input("scales", "FP32", sent.scales.view({8, 8}).t())}});
  const ServeResponse from_packet =
      service->infer({.model = "pair", .inputs = {served_packet(pair_packet())}});
  EXPECT_EQ(from_codes.outputs[0].data, from_packet.outputs[0].data);
  EXPECT_EQ(from_codes.outputs[1].data, from_packet.outputs[1].data);
  EXPECT_EQ(from_codes.certificate, from_packet.certificate);
}

TEST_F(ModelServiceTest, LatentsAreTakenByTheirOwnCheckpoint) {
  const ProjectorOptions options{
      .kind = "low_rank", .rank = 6, .layer_map = {.kind = "all", .features = "both"}};
  const std::string path = save("low", sender().geometry(), receiver().geometry(), options);
  write_file_atomically(folder_.file("encoder.kve"), export_encoder(path).bytes);
  const std::string packet = pair_packet({.encoder = folder_.file("encoder.kve")});
  const auto service = pair_service(path);
  const at::NoGradGuard no_gradients;
  const at::Tensor latent_T1k = decode_packet(packet).values_TMW;
  const at::Tensor expected_RTD =
      load_checkpoint(path).projector->projector().project_latent(latent_T1k.transpose(0, 1));
  const ServeResponse response =
      service->infer({.model = "pair", .inputs = {served_packet(packet)}, .outputs = {"keys"}});
  EXPECT_TRUE(at::allclose(tensor_of(response.outputs[0]),
                           expected_RTD.narrow(0, 0, 5).unflatten(2, {3, 32}).transpose(1, 2), 1e-5,
                           1e-5));
  EXPECT_EQ(response.certificate["holds"], "latent");
  const ServeResponse floats = service->infer(features(latent_T1k.flatten(1), "pair"));
  EXPECT_EQ(floats.outputs[0].data, response.outputs[0].data);

  // Neither a cache nor another encoder's latent is one of this checkpoint.
  const ServeResponse cache =
      service->infer({.model = "pair", .inputs = {served_packet(pair_packet())}});
  EXPECT_EQ(cache.outcome, CacheOutcome::kUnsupported);
  EXPECT_EQ(cache.record.reason, "content");
  ProjectorOptions other_options = options;
  other_options.seed = 2;
  const std::string other =
      save("other", sender().geometry(), receiver().geometry(), other_options);
  const ServeResponse foreign =
      pair_service(other)->infer({.model = "pair", .inputs = {served_packet(packet)}});
  EXPECT_EQ(foreign.outcome, CacheOutcome::kUnsupported);
  EXPECT_EQ(foreign.record.reason, "encoder");
  EXPECT_THAT(foreign.reason, ::testing::HasSubstr("got another encoder_id"));
  EXPECT_TRUE(foreign.outputs.empty());
}

TEST_F(ModelServiceTest, CertifiesAsTheToolDoes) {
  const std::string path = save_pair();
  const std::string packet = pair_packet();
  const auto service = make_model_service(
      {.models = {"pair=" + path}, .certificate = {.of = "projected", .tokens = 0}});
  const ServeResponse response =
      service->infer({.model = "pair", .inputs = {served_packet(packet)}});
  const PacketCertificate expected = certify_packet(packet, path);
  nlohmann::json expected_json = to_json(expected);
  expected_json["of_tokens"] = 8;
  EXPECT_EQ(response.certificate, expected_json);
  double largest = 0;
  for (const PacketStreamCertificate& stream : expected.streams) {
    largest = std::max(largest, stream.certified.p50 / stream.output_norm);
  }
  EXPECT_EQ(response.record.certified_error, largest);
  EXPECT_EQ(response.record.certified_wire_error, expected.relative.p50);
  // A sample: tokens 0, 2, 5 of the 8.
  const auto sampling =
      make_model_service({.models = {"pair=" + path}, .certificate = {.tokens = 3}});
  const ServeResponse sampled =
      sampling->infer({.model = "pair", .inputs = {served_packet(packet)}});
  EXPECT_EQ(sampled.certificate["tokens"], 3);
  EXPECT_LE(sampled.certificate["certified_relative"]["max"],
            response.certificate["certified_relative"]["max"]);
  EXPECT_FALSE(sampled.record.certified_error.has_value());
  EXPECT_GT(sampled.record.certified_wire_error.value(), 0);
  const auto silent =
      make_model_service({.models = {"pair=" + path}, .certificate = {.of = "off"}});
  EXPECT_TRUE(
      silent->infer({.model = "pair", .inputs = {served_packet(packet)}}).certificate.is_null());
}

TEST_F(ModelServiceTest, FillsTheRecord) {
  const auto service = pair_service(save_pair());
  const ServeResponse response =
      service->infer({.model = "pair", .inputs = {served_packet(pair_packet())}});
  const RequestRecord& record = response.record;
  EXPECT_EQ(record.model, "pair");
  EXPECT_EQ(record.outcome, CacheOutcome::kApplied);
  EXPECT_EQ(record.tokens, 8);
  EXPECT_EQ(record.elements, 8 * 8 * 48);
  EXPECT_EQ(record.reason, "");
  for (const char* phase : {"decode", "guard", "queue", "project", "certify", "outputs"}) {
    EXPECT_TRUE(record.phase_seconds.contains(phase)) << phase;
  }
}

TEST_F(ModelServiceTest, RefusesWhatIsNoRequest) {
  const auto service = make_model_service({.models = {"flat=" + save_flat()}, .max_tokens = 9});
  const auto refuses = [&](int status, const ServeRequest& request, const std::string& text) {
    const ServeRefusal refusal = refusal_of([&] { service->infer(request); });
    EXPECT_EQ(refusal.status, status) << text;
    EXPECT_THAT(std::string(refusal.what()), ::testing::HasSubstr(text));
  };
  const ServedTensor rows = served_input("features", "FP32", random_rows({3, 16}));
  const auto with = [&](const auto& change) {
    ServeRequest request{.model = "flat", .inputs = {rows}};
    change(request);
    return request;
  };
  refuses(404, {.model = "none", .inputs = {rows}}, "expected a model of flat, got \"none\"");
  refuses(404, with([](ServeRequest& r) { r.version = "0"; }), "Only the newest is kept");
  refuses(400, {.model = "flat"},
          "flat: expected one of the inputs packet, codes with scales, and "
          "features, got 0");
  refuses(400, with([&](ServeRequest& r) { r.inputs.push_back(served_packet("x")); }), "got 2");
  refuses(400, with([](ServeRequest& r) { r.inputs[0].name = "cache"; }), "got \"cache\"");
  refuses(400, with([](ServeRequest& r) { r.inputs[0].datatype = "INT8"; }),
          "input features: expected datatype FP32, FP16, BF16, got \"INT8\"");
  refuses(400, with([](ServeRequest& r) {
            r.inputs[0].shape = {4, 12};
          }),
          "expected shape [any, 16], got [4, 12]");
  refuses(400, with([](ServeRequest& r) { r.inputs[0].shape = {0, 16}; }), "got [0, 16]");
  refuses(400, with([](ServeRequest& r) {
            r.inputs[0].shape = {int64_t{1} << 60, 16};
          }),
          "expected the bytes of FP32");
  refuses(400, with([](ServeRequest& r) { r.inputs[0].data.pop_back(); }), "got 191");
  refuses(400, with([](ServeRequest& r) { r.outputs = {"keys"}; }),
          "expected outputs cache, got \"keys\"");
  refuses(400, with([](ServeRequest& r) { r.inputs[0].name = "codes"; }),
          "expected input scales beside it");
  refuses(400, {.model = "flat", .inputs = {served_packet("damaged")}}, "input packet: ");
  refuses(413, features(random_rows({10, 16})), "expected at most 9 tokens, got 10");
  refuses(400, with([](ServeRequest& r) {
            r.inputs.push_back(served_input("token_ids", "INT32", at::ones({4}, at::kInt)));
          }),
          "one of each of the 3 tokens, got 4");
  refuses(504, with([](ServeRequest& r) { r.deadline = std::chrono::steady_clock::now(); }),
          "deadline");
  EXPECT_EQ(
      refusal_of([&] { service->generate({.model = "flat", .inputs = {rows}}, nullptr); }).status,
      400);
}

TEST_F(ModelServiceTest, SaysWhatItTakes) {
  const auto service = make_model_service(
      {.models = {"flat=" + save_flat(), "pair=" + save_pair()}, .batch = {.max_tokens = 64}});
  EXPECT_EQ(service->models(), (std::vector<std::string>{"flat", "pair"}));
  const nlohmann::json flat_model = service->model_metadata("flat", "");
  const std::string version = sha256_of_file(save_flat()).substr(0, 12);
  EXPECT_EQ(flat_model["versions"], nlohmann::json::array({version}));
  EXPECT_EQ(flat_model["platform"], "kvalign");
  EXPECT_EQ(flat_model["inputs"][3]["shape"], nlohmann::json::array({-1, 16}));
  EXPECT_EQ(flat_model["outputs"][0]["shape"], nlohmann::json::array({-1, 24}));
  const nlohmann::json pair = service->model_metadata("pair", "");
  EXPECT_EQ(pair["outputs"][0]["shape"], nlohmann::json::array({5, 3, -1, 32}));
  EXPECT_EQ(pair["parameters"]["generates"], false);
  EXPECT_LE(pair["parameters"]["identical_from_tokens"], 64);
  EXPECT_TRUE(service->model_ready("flat", version));
  EXPECT_EQ(refusal_of([&] { service->model_ready("flat", "1"); }).status, 404);
}

// Everyone gets the rows that belong to what they sent, with the bits that they have alone.
TEST_F(ModelServiceTest, ManyAtOnceGetWhatEachWouldGetAlone) {
  const std::string path = save("wide", flat(64), flat(96));
  const auto service =
      make_model_service({.models = {"wide=" + path}, .batch = {.max_tokens = 40, .wait_ms = 2}});
  const auto request_of = [](int64_t number) {
    return features(random_rows({1 + number % 13, 64}, number), "wide");
  };
  std::vector<std::string> alone;
  for (int64_t number = 0; number < 64; ++number) {
    alone.push_back(service->infer(request_of(number)).outputs[0].data);
  }
  std::vector<std::thread> clients;
  std::atomic<int> wrong = 0, shared = 0;
  for (int64_t client = 0; client < 16; ++client) {
    clients.emplace_back([&, client] {
      for (int64_t turn = 0; turn < 40; ++turn) {
        const int64_t number = (client * 7 + turn * 11) % 64;
        const ServeResponse response = service->infer(request_of(number));
        wrong += response.outputs[0].data != alone[static_cast<size_t>(number)];
        shared += response.record.phase_seconds.at("queue") > 0;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(shared, 0);
  EXPECT_EQ(service->queue_depth(), 0);
}

TEST_F(ModelServiceTest, TakesNothingOnceStopped) {
  const auto service = flat_service();
  service->stop();
  service->stop();
  EXPECT_FALSE(service->ready());
  const ServeRefusal refusal = refusal_of([&] { service->infer(features(random_rows({1, 16}))); });
  EXPECT_EQ(refusal.status, 503);
  EXPECT_STREQ(refusal.what(), "the service is being stopped");
}

}  // namespace
}  // namespace kvalign
