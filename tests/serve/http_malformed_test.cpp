// 20,000 requests that are wrong, by a fixed seed: each is answered with a 4xx in time, and the
// next good request is answered, to the bit, as the first was.
#include <gmock/gmock.h>

#include <chrono>
#include <memory>
#include <thread>

#include "kvalign/serve/http_server.h"
#include "tests/serve/fake_service.h"
#include "tests/serve/malformed_requests.h"

namespace kvalign {
namespace {

using namespace testing;

constexpr double kLimitSeconds = 20;  // of a loaded machine; the server's own are 5 and more

class HttpMalformed : public ::testing::Test {
 protected:
  void start(ServeOptions options) {
    options.port = 0;
    server = std::make_unique<HttpServer>(options, service, HttpCallbacks{});
    good = std::make_unique<RawClient>(server->port());
    first = ask_well();
    ASSERT_EQ(first.substr(0, 15), "HTTP/1.1 200 OK");
    ASSERT_TRUE(first.ends_with("ABCDEFGH"));
  }

  // All bytes of the answer to a good request, on a connection that stays.
  std::string ask_well() {
    const std::optional<RawResponse> response = good->ask(good_request());
    return response ? response->head + response->body : "no answer";
  }

  void expect_refused(RawClient& client, const std::string& request) {
    const std::optional<RawResponse> response = client.receive(kLimitSeconds);
    ASSERT_TRUE(response) << "no answer to " << request.substr(0, 300);
    ASSERT_TRUE(response->status >= 400 && response->status < 500)
        << response->status << " to " << request.substr(0, 300);
    ASSERT_EQ(nlohmann::json::parse(response->body).size(), 1u) << response->body;
    ASSERT_EQ(ask_well(), first);
  }

  FakeService service;
  std::unique_ptr<HttpServer> server;
  std::unique_ptr<RawClient> good;
  std::string first;
};

TEST_F(HttpMalformed, TwentyThousandAreRefusedAndHarmNothing) {
  start({});
  Draw draw(20261126);
  for (int i = 0; i < 18000; ++i) {
    RawClient client(server->port());
    const std::string request = i % 3 == 0   ? malformed_http(draw)
                                : i % 3 == 1 ? malformed_json(draw)
                                             : malformed_sizes(draw);
    client.send(request);
    // Half are cut off where they end, as by a client that has died.
    if (draw.below(2) == 0) client.end_sending();
    ASSERT_NO_FATAL_FAILURE(expect_refused(client, request));
  }
  EXPECT_TRUE(server->drain(std::chrono::seconds(20)));
}

TEST_F(HttpMalformed, CutOffAnywhere) {
  start({});
  const std::string whole = good_request();
  for (size_t i = 0; i < 1000; ++i) {
    const std::string part = whole.substr(0, 1 + i % (whole.size() - 1));
    RawClient client(server->port());
    client.send(part);
    client.end_sending();
    ASSERT_NO_FATAL_FAILURE(expect_refused(client, part));
    ASSERT_TRUE(client.is_closed());
  }
}

TEST_F(HttpMalformed, PipelinedBehindGoodOnes) {
  start({});
  Draw draw(7);
  for (int i = 0; i < 960; ++i) {
    RawClient client(server->port());
    const std::string wrong = malformed_http(draw);
    client.send(good_request() + wrong + good_request());
    client.end_sending();
    const std::optional<RawResponse> before = client.receive(kLimitSeconds);
    ASSERT_TRUE(before);
    ASSERT_EQ(before->head + before->body, first);
    ASSERT_NO_FATAL_FAILURE(expect_refused(client, wrong));
    ASSERT_TRUE(client.is_closed())
        << "where would the next request begin? " << wrong.substr(0, 300);
  }
}

TEST_F(HttpMalformed, SlowOnesAreEndedInTime) {
  start({.head_seconds = 0.5, .body_seconds = 0.5, .keep_alive_seconds = 600});
  const std::string whole = good_request();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (size_t i = 0; i < 40; ++i) {
    clients.push_back(std::make_unique<RawClient>(server->port()));
    clients.back()->send(whole.substr(0, 1 + i * (whole.size() - 2) / 40));
  }
  const auto start = std::chrono::steady_clock::now();
  for (const auto& client : clients) {
    const std::optional<RawResponse> response = client->receive(kLimitSeconds);
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, 408);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(15));
  EXPECT_EQ(ask_well(), first);
}

// Any bytes may be good by chance; none may end in a 5xx or a silence.
TEST_F(HttpMalformed, RandomEditsAreAnsweredOrEnded) {
  start({.head_seconds = 1, .body_seconds = 1});
  Draw draw(3);
  for (int i = 0; i < 2000; ++i) {
    std::string request = good_request();
    for (size_t edits = 1 + draw.below(3); edits > 0; --edits) {
      const size_t at = draw.below(request.size());
      request[at] = static_cast<char>(draw.below(256));
    }
    RawClient client(server->port());
    client.send(request);
    client.end_sending();
    const std::optional<RawResponse> response = client.receive(kLimitSeconds);
    ASSERT_TRUE(response && response->status < 500 && response->status >= 200) << request;
    ASSERT_EQ(ask_well(), first);
  }
}

}  // namespace
}  // namespace kvalign
