// The server on a real socket of loopback: what each path answers, and how a connection goes on.
#include "kvalign/serve/http_server.h"

#include <gmock/gmock.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/serve/fake_service.h"
#include "tests/serve/raw_client.h"

namespace kvalign {
namespace {

using namespace testing;
using nlohmann::json;
using ::testing::HasSubstr;

constexpr const char* kInfer = "/v2/models/fixed/infer";
const std::string kGood =
    R"({"id":"a","inputs":[{"name":"features","datatype":"FP32","shape":[1,2],"data":[1,2]}]})";

std::string with_parameters(const std::string& parameters) {
  return R"({"inputs":[],"parameters":{)" + parameters + "}}";
}

// A server of a FakeService, and what it told its callbacks.
class HttpServerTest : public ::testing::Test {
 protected:
  void start(ServeOptions options = {}) {
    options.port = 0;
    server = std::make_unique<HttpServer>(
        options, service,
        HttpCallbacks{.on_request =
                          [this](const RequestRecord& record) {
                            const std::lock_guard lock(mutex);
                            records.push_back(record);
                          },
                      .on_access =
                          [this](const AccessLogEntry& entry) {
                            const std::lock_guard lock(mutex);
                            entries.push_back(entry);
                          },
                      .in_flight = [this]() -> std::shared_ptr<void> {
                        ++in_flight;
                        return {nullptr, [this](void*) { --in_flight; }};
                      },
                      .metrics = [] { return std::string("kvalign_up 1\n"); },
                      .status = [] { return std::string("{}"); },
                      .status_page = [] { return std::string("<!doctype html>"); }});
  }

  // Callbacks come after the answer, which a client may have read by then.
  std::vector<RequestRecord> records_of(size_t count) {
    for (int i = 0; i < 1000; ++i) {
      {
        const std::lock_guard lock(mutex);
        if (records.size() >= count) return records;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << "expected " << count << " records";
    return records;
  }

  FakeService service;
  std::atomic<int> in_flight = 0;
  std::mutex mutex;
  std::vector<RequestRecord> records;
  std::vector<AccessLogEntry> entries;
  std::unique_ptr<HttpServer> server;
};

TEST_F(HttpServerTest, TellsWhatItIs) {
  start();
  RawClient client(server->port());
  EXPECT_EQ(server->url(), "http://127.0.0.1:" + std::to_string(server->port()));
  const json about = json::parse(client.ask(get("/v2"))->body);
  EXPECT_EQ(about.at("name"), "kvalign");
  EXPECT_EQ(about.at("extensions"), json({"binary_tensor_data", "generate"}));
  EXPECT_EQ(client.ask(get("/v2/health/live"))->status, 200);
  EXPECT_EQ(client.ask(get("/v2/health/ready"))->status, 200);
  EXPECT_EQ(client.ask(get("/v2/models/fixed/ready"))->status, 200);
  EXPECT_EQ(client.ask(get("/v2/models/fixed/versions/1/ready?x=y"))->status, 200);
  EXPECT_EQ(json::parse(client.ask(get("/v2/models/fi%78ed"))->body).at("name"), "fixed");
  EXPECT_EQ(client.ask(get("/metrics"))->body, "kvalign_up 1\n");
  const RawResponse page = *client.ask(get("/"));
  EXPECT_EQ(page.body, "<!doctype html>");
  EXPECT_EQ(client.ask(get("/status"))->body, "{}");
  EXPECT_THAT(page.header("Content-Security-Policy"), HasSubstr("default-src 'none'"));
  service.is_ready = false;
  const RawResponse unready = *client.ask(get("/v2/health/ready"));
  EXPECT_EQ(unready.status, 503);
  EXPECT_EQ(unready.header("Retry-After"), "1");
  EXPECT_EQ(client.ask(get("/v2/health/live"))->status, 200);
}

TEST_F(HttpServerTest, SaysWhichPathsAndMethodsThereAre) {
  start();
  RawClient client(server->port());
  for (const char* path : {"/v3", "/v2/", "/v2/models", "/v2/models//infer", "//", "/v2/models/a/b",
                           "/v2/models/fixed/versions", "/v2/models/fixed/infer/x"}) {
    const RawResponse response = *client.ask(get(path));
    EXPECT_EQ(response.status, 404) << path;
    EXPECT_THAT(json::parse(response.body).at("error"), HasSubstr("no such path")) << path;
  }
  EXPECT_EQ(client.ask(get("/v2/models/other"))->status, 404);
  EXPECT_EQ(client.ask(get("/v2/models/fixed/versions/2"))->status, 404);
  EXPECT_EQ(client.ask(get("/v2/models/%zz"))->status, 400);
  EXPECT_EQ(client.ask(get("/v2/models/a%00"))->status, 400);
  const RawResponse wrong = *client.ask(get(kInfer));
  EXPECT_EQ(wrong.status, 405);
  EXPECT_NE(wrong.header("Allow"), "");
  EXPECT_EQ(client.ask(post("/v2/models/other/infer", kGood))->status, 404);
  EXPECT_EQ(records_of(1).back().model, "") << "a stranger's name is no label";
}

TEST_F(HttpServerTest, AnswersHeadWithoutABody) {
  start();
  RawClient client(server->port());
  client.send("HEAD /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  client.end_sending();
  const auto response = client.receive(2);
  EXPECT_FALSE(response) << "Content-Length tells of a body that does not come";
}

TEST_F(HttpServerTest, InfersAndRecords) {
  start();
  RawClient client(server->port());
  const RawResponse response = *client.ask(post(kInfer, kGood));
  ASSERT_EQ(response.status, 200) << response.body;
  const json body = json::parse(response.body);
  EXPECT_EQ(body.at("id"), "a");
  EXPECT_EQ(body.at("outputs")[0].at("data"), json({5.0, 1.0, 0.25}));
  EXPECT_EQ(body.at("parameters").at("outcome"), "applied");
  EXPECT_EQ(body.at("parameters").at("certificate"), R"({"bound":0.25})");
  const RequestRecord record = records_of(1)[0];
  EXPECT_EQ(record.method, "infer");
  EXPECT_EQ(record.model, "fixed");
  EXPECT_EQ(record.status, 200);
  EXPECT_EQ(record.outcome, CacheOutcome::kApplied);
  EXPECT_EQ(record.bytes_received, static_cast<int64_t>(kGood.size()));
  EXPECT_EQ(record.bytes_sent, static_cast<int64_t>(response.head.size() + response.body.size()));
  EXPECT_TRUE(record.phase_seconds.contains("read") && record.phase_seconds.contains("write"));
  EXPECT_EQ(entries[0].verb, "POST");
  EXPECT_EQ(entries[0].target, kInfer);
  EXPECT_EQ(entries[0].id, "a");
  EXPECT_EQ(entries[0].client, "127.0.0.1");
  EXPECT_GT(entries[0].seconds, 0);
}

TEST_F(HttpServerTest, AnswersWithoutOutputsWhereTheGuardRefused) {
  start();
  RawClient client(server->port());
  const RawResponse response =
      *client.ask(post(kInfer, with_parameters(R"("outcome":"fallback_reprefill")")));
  EXPECT_EQ(response.status, 200);
  const json body = json::parse(response.body);
  EXPECT_EQ(body.at("outputs"), json::array());
  EXPECT_EQ(body.at("parameters").at("reason"), "the norms are out of range");
  const RequestRecord record = records_of(1)[0];
  EXPECT_EQ(record.outcome, CacheOutcome::kFallbackReprefill);
  EXPECT_EQ(record.reason, "norms");
}

TEST_F(HttpServerTest, TellsWhyARequestIsRefused) {
  start();
  RawClient client(server->port());
  const RawResponse busy = *client.ask(post(kInfer, with_parameters(R"("refuse":"busy")")));
  EXPECT_EQ(busy.status, 503);
  EXPECT_EQ(busy.header("Retry-After"), "1");
  EXPECT_EQ(json::parse(busy.body).at("error"), "the queue is full");
  const RawResponse late =
      *client.ask(post(kInfer, with_parameters(R"("timeout":1000,"sleep_ms":5)")));
  EXPECT_EQ(late.status, 504);
  const RawResponse failed = *client.ask(post(kInfer, with_parameters(R"("fail":true)")));
  EXPECT_EQ(failed.status, 500);
  EXPECT_THAT(failed.body, ::testing::Not(HasSubstr("secret")));
  EXPECT_EQ(client.ask(post(kInfer, kGood))->status, 200) << "the connection goes on";
  const std::vector<RequestRecord> all = records_of(4);
  EXPECT_EQ(all[0].reason, "busy");
  EXPECT_EQ(all[0].outcome, std::nullopt);
  EXPECT_EQ(all[1].reason, "deadline");
  EXPECT_EQ(all[2].reason, "internal");
  EXPECT_EQ(entries[2].error, "a secret of the service");
}

TEST_F(HttpServerTest, TakesBodiesInChunksAndAfterContinue) {
  start();
  RawClient client(server->port());
  const std::string head = "POST " + std::string(kInfer) + " HTTP/1.1\r\nHost: a\r\n";
  std::string chunks;
  for (const char byte : kGood) chunks += std::string("1;x=y\r\n") + byte + "\r\n";
  const auto chunked =
      client.ask(head + "Transfer-Encoding: chunked\r\n\r\n" + chunks + "0\r\nX: y\r\n\r\n");
  ASSERT_EQ(chunked->status, 200) << chunked->body;
  client.send(head + "Expect: 100-continue\r\nContent-Length: " + std::to_string(kGood.size()) +
              "\r\n\r\n");
  EXPECT_EQ(client.receive()->status, 100);
  EXPECT_EQ(client.ask(kGood)->body, chunked->body);
}

TEST_F(HttpServerTest, AnswersAPipelineInOrder) {
  start();
  RawClient client(server->port());
  std::string pipeline;
  for (int i = 0; i < 50; ++i) {
    pipeline += post(kInfer, R"({"inputs":[],"id":")" + std::to_string(i) + "\"}") + get("/v2");
  }
  client.send(pipeline);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(json::parse(client.receive()->body).at("id"), std::to_string(i));
    EXPECT_EQ(json::parse(client.receive()->body).at("name"), "kvalign");
  }
}

TEST_F(HttpServerTest, KeepsConnectionsAsAsked) {
  start({.keep_alive_requests = 3});
  RawClient client(server->port());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(client.ask(get("/v2"))->header("Connection"), "");
  EXPECT_EQ(client.ask(get("/v2"))->header("Connection"), "close");
  EXPECT_TRUE(client.is_closed());
  RawClient closing(server->port());
  EXPECT_EQ(closing.ask(get("/v2", "Connection: close\r\n"))->header("Connection"), "close");
  EXPECT_TRUE(closing.is_closed());
  RawClient old(server->port());
  EXPECT_EQ(old.ask("GET /v2 HTTP/1.0\r\n\r\n")->status, 200);
  EXPECT_TRUE(old.is_closed());
}

TEST_F(HttpServerTest, GeneratesWhole) {
  start();
  RawClient client(server->port());
  const RawResponse response = *client.ask(post(
      "/v2/models/fixed/generate", R"({"packet":"AAAA","id":"g","parameters":{"max_tokens":3}})"));
  const json body = json::parse(response.body);
  EXPECT_EQ(body.at("text_output"), "piece0 piece1 piece2 ");
  EXPECT_EQ(body.at("outcome"), "applied");
  EXPECT_EQ(body.at("certificate").at("bound"), 0.25);
  EXPECT_EQ(records_of(1)[0].generated_tokens, 3);
}

TEST_F(HttpServerTest, StreamsPieces) {
  start();
  RawClient client(server->port());
  const RawResponse response =
      *client.ask(post("/v2/models/fixed/versions/1/generate_stream",
                       R"({"packet":"AAAA","parameters":{"max_tokens":2}})"));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("Content-Type"), "text/event-stream");
  std::vector<json> events;
  for (size_t at = 0; at < response.body.size();) {
    const size_t end = response.body.find("\n\n", at);
    ASSERT_EQ(response.body.compare(at, 6, "data: "), 0);
    events.push_back(json::parse(response.body.substr(at + 6, end - at - 6)));
    at = end + 2;
  }
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].at("text_output"), "piece0 ");
  EXPECT_EQ(events[1].at("token_id"), 1);
  EXPECT_EQ(events[2].at("outcome"), "applied");
  EXPECT_EQ(client.ask(get("/v2"))->status, 200) << "the connection goes on";
  const RequestRecord record = records_of(1)[0];
  EXPECT_EQ(record.method, "generate_stream");
  EXPECT_EQ(record.generated_tokens, 2);
  EXPECT_EQ(record.bytes_sent,
            static_cast<int64_t>(response.head.size() + response.body.size()) + 3 * 6 + 5)
      << "with the sizes of three chunks of two digits, and of the last";
}

TEST_F(HttpServerTest, RefusesAStreamBeforeItsFirstPiece) {
  start();
  RawClient client(server->port());
  const RawResponse response = *client.ask(post(
      "/v2/models/fixed/generate_stream", R"({"packet":"AAAA","parameters":{"refuse":"busy"}})"));
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.header("Retry-After"), "1");
}

TEST_F(HttpServerTest, StopsAGenerationWhoseClientHasGone) {
  start();
  for (const char* path : {"/v2/models/fixed/generate_stream", "/v2/models/fixed/generate"}) {
    const int64_t before = service.pieces;
    {
      RawClient client(server->port());
      client.send(post(path, R"({"packet":"AAAA","parameters":{"sleep_ms":1}})"));
      while (service.pieces < before + 5) std::this_thread::yield();
      EXPECT_EQ(in_flight, 1);
    }
    for (int i = 0; i < 1000 && service.in_flight > 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(service.in_flight, 0) << path;
  }
  const RequestRecord record = records_of(2)[0];
  EXPECT_EQ(record.status, 499);
  EXPECT_EQ(record.reason, "client_gone");
}

TEST_F(HttpServerTest, AnswersManyAtOnceEachItsOwn) {
  start();
  std::atomic<int> right = 0;
  std::vector<std::thread> clients;
  for (int c = 0; c < 16; ++c) {
    clients.emplace_back([&, c] {
      RawClient client(server->port());
      for (int i = 0; i < 50; ++i) {
        const std::string id = std::to_string(c) + "-" + std::to_string(i);
        const auto response = client.ask(post(kInfer, R"({"inputs":[],"id":")" + id + "\"}"));
        if (response && json::parse(response->body).at("id") == id) ++right;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 16 * 50);
  EXPECT_EQ(service.answers, 16 * 50);
  EXPECT_TRUE(server->drain(std::chrono::seconds(5)));
  EXPECT_EQ(in_flight, 0);
  EXPECT_EQ(records.size(), 16u * 50u);
}

}  // namespace
}  // namespace kvalign
