// What a service refuses to begin with: files that do not belong together.
#include <fstream>
#include <nlohmann/json.hpp>

#include "kvalign/core/files.h"
#include "kvalign/core/geometry_json.h"
#include "kvalign/deploy/input_statistics.h"
#include "kvalign/deploy/model_service.h"
#include "kvalign/model/capture.h"
#include "tests/deploy/model_service_fixture.h"
#include "tests/support/decoder_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using namespace testing;

class ServedModelTest : public ModelServiceFixture {
 protected:
  // A dataset of the demo pair as far as its index goes, with `change` made to the receiver's side.
  std::string dataset(const std::function<void(nlohmann::json&)>& change = {}) const {
    const auto side = [](const Decoder& decoder, const std::string& tokenizer) {
      return nlohmann::json{{"geometry", to_json(decoder.geometry())},
                            {"revision", weights_sha256(decoder.folder())},
                            {"tokenizer_sha256", tokenizer}};
    };
    // Of demo/README.md's tokeniser, as scripts/capture_hf.py wrote it.
    const std::string tokenizer =
        "79408dcca093fc0f215d44c3b74c9cc9c8b8be6081a55546f81bbd76fa0d79fa";
    nlohmann::json index = {
        {"schema", 1},
        {"layout", "layers"},
        {"created_by", "test"},
        {"sender", side(sender(), tokenizer)},
        {"receiver", side(receiver(), tokenizer)},
        {"num_sinks", 2},
        {"num_sequences", 1},
        {"num_tokens", 3},
        {"shards", nlohmann::json::array({{{"file", "pairs-00001-of-00001.safetensors"},
                                           {"sha256", sha256_hex("shard")},
                                           {"num_sequences", 1},
                                           {"num_tokens", 3}}})}};
    if (change) change(index["receiver"]);
    std::filesystem::create_directories(folder_.file("data"));
    std::ofstream(folder_.file("data/index.json")) << index.dump();
    return folder_.file("data");
  }
  std::unique_ptr<ModelService> load(const std::string& dataset_folder) const {
    const std::string path = save("m", sender().geometry(), receiver().geometry(), {},
                                  sha256_of_file(dataset_folder + "/index.json"));
    return make_model_service({.models = {"m=" + path},
                               .receivers = {"m=" + kDemoReceiver},
                               .datasets = {"m=" + dataset_folder}});
  }
};

TEST_F(ServedModelTest, TakesTheReceiverOfTheDataset) {
  const nlohmann::json metadata = load(dataset())->model_metadata("m", "");
  EXPECT_EQ(metadata["parameters"]["generates"], true);
  EXPECT_EQ(metadata["parameters"]["sender_revision"], weights_sha256(kDemoSender));
}

TEST_F(ServedModelTest, RefusesAnotherTokeniser) {
  const std::string folder =
      dataset([](nlohmann::json& side) { side["tokenizer_sha256"] = sha256_hex("other"); });
  EXPECT_THROWS_WITH(load(folder), "expected the tokeniser of the dataset");
}

TEST_F(ServedModelTest, RefusesAnotherRevision) {
  const std::string folder =
      dataset([](nlohmann::json& side) { side["revision"] = sha256_hex("other"); });
  EXPECT_THROWS_WITH(load(folder), "expected the weights of the dataset's receiver");
}

TEST_F(ServedModelTest, RefusesAnotherDataset) {
  const std::string path = save_pair();
  EXPECT_THROWS_WITH(make_model_service({.models = {"m=" + path}, .datasets = {"m=" + dataset()}}),
                     "expected the dataset of the checkpoint");
}

TEST_F(ServedModelTest, RefusesAnotherReceiver) {
  EXPECT_THROWS_WITH(make_model_service({.models = {"m=" + save_pair()},
                                         .receivers = {"m=" + golden_decoder("llama")}}),
                     "m: ");
  EXPECT_THROWS_WITH(
      make_model_service({.models = {"m=" + save_pair()}, .receivers = {"m=" + kDemoSender}}),
      "is not the receiver of the checkpoint");
}

TEST_F(ServedModelTest, RefusesStatisticsOfAnotherCheckpoint) {
  const std::string statistics = folder_.file("statistics.safetensors");
  save_input_statistics(
      statistics,
      {.mean_F = at::zeros({16}), .scale_F = at::ones({16}), .checkpoint = sha256_hex("other")});
  EXPECT_THROWS_WITH(
      make_model_service({.models = {"m=" + save_flat()}, .statistics = {"m=" + statistics}}),
      "expected statistics of 16 numbers of checkpoint");
}

TEST_F(ServedModelTest, ComparesNothingWithADatasetThatItDoesNotKnow) {
  const auto service = make_model_service({.models = {"m=" + save_flat()}});
  const ServeRefusal refusal = refusal_of([&] {
    service->infer({.model = "m",
                    .inputs = {served_input("features", "FP32", random_rows({2, 16}))},
                    .parameters = {{"sender_revision", "r1"}}});
  });
  EXPECT_EQ(refusal.status, 400);
  EXPECT_THAT(std::string(refusal.what()),
              ::testing::HasSubstr("parameter sender_revision: expected a model whose dataset"));
}

TEST_F(ServedModelTest, NamesModelsOnceAndPlainly) {
  const auto specs = [](const ModelServiceOptions& options) { return model_specs(options); };
  EXPECT_EQ(specs({.models = {"runs/v1/checkpoint.safetensors"}})[0].name, "v1");
  EXPECT_EQ(specs({.models = {"a.safetensors"}})[0].name, "a");
  const std::vector<ModelSpec> two = specs(
      {.models = {"a=x", "b=y"}, .receivers = {"b=r"}, .datasets = {"a=d"}, .statistics = {"b=s"}});
  EXPECT_EQ(two[0].checkpoint, "x");
  EXPECT_EQ(two[0].receiver, "");
  EXPECT_EQ(two[0].dataset, "d");
  EXPECT_EQ(two[1].receiver, "r");
  EXPECT_EQ(two[1].statistics, "s");
  EXPECT_THROWS_WITH(specs({.models = {"a=x", "a=y"}}), "got two of a");
  EXPECT_THROWS_WITH(specs({.models = {"a b=x"}}), "expected a name of letters");
  EXPECT_THROWS_WITH(specs({.models = {"=x"}}), "got \"\"");
  EXPECT_THROWS_WITH(specs({.models = {"a=x"}, .receivers = {"c=r"}}),
                     "receivers: expected name=path with the name of a model, got \"c=r\"");
  EXPECT_THROWS_WITH(specs({.models = {"a=x"}, .statistics = {"a=s", "a=t"}}),
                     "statistics: expected one a model, got two of a");
  EXPECT_THROWS_WITH(make_model_service({}), "models");
}

}  // namespace
}  // namespace kvalign
