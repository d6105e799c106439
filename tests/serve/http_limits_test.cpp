// What a server must not let strangers do: take its time, its memory, its connections or its
// answers without the token. And what it must do when it is told to stop.
#include <gmock/gmock.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <vector>

#include "kvalign/core/temporary_folder.h"
#include "kvalign/serve/http_server.h"
#include "tests/serve/fake_service.h"
#include "tests/serve/raw_client.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using namespace testing;
using Clock = std::chrono::steady_clock;

constexpr const char* kPath = "/v2/models/fixed/infer";
const std::string kEmpty = R"({"inputs":[]})";

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A server of its own for each test, without callbacks.
struct LimitedServer {
  explicit LimitedServer(ServeOptions options) : server(with_any_port(options), service, {}) {}

  static ServeOptions with_any_port(ServeOptions options) {
    options.port = 0;
    return options;
  }

  int port() const { return server.port(); }

  FakeService service;
  HttpServer server;
};

TEST(HttpLimits, EndsHeadsAndBodiesThatDoNotCome) {
  LimitedServer limited({.head_seconds = 0.3, .body_seconds = 0.3});
  const Clock::time_point start = Clock::now();
  RawClient silent(limited.port());
  RawClient slow_head(limited.port());
  RawClient slow_body(limited.port());
  slow_head.send("GET /v2 HT");
  slow_body.send("POST " + std::string(kPath) +
                 " HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{");
  EXPECT_EQ(slow_head.receive()->status, 408);
  EXPECT_EQ(slow_body.receive()->status, 408);
  EXPECT_TRUE(slow_head.is_closed());
  EXPECT_TRUE(slow_body.is_closed());
  EXPECT_TRUE(silent.is_closed());
  EXPECT_GE(since(start), 0.3);
  EXPECT_LT(since(start), 5);
}

TEST(HttpLimits, CountsTheTimeOfAHeadAsAWhole) {
  LimitedServer limited({.head_seconds = 0.5});
  RawClient drip(limited.port());
  const Clock::time_point start = Clock::now();
  drip.send("GET /v2 HTTP/1.1\r\nA: ");
  std::optional<RawResponse> response;
  while (!response && since(start) < 10) {  // a byte at a time, each well within any limit
    drip.send("x");
    response = drip.receive(0.05);
  }
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 408);
  EXPECT_LT(since(start), 5);
}

TEST(HttpLimits, RefusesBodiesThatAreTooLarge) {
  LimitedServer limited({.max_body_bytes = 1000});
  const std::string head = "POST " + std::string(kPath) + " HTTP/1.1\r\nHost: a\r\n";
  RawClient sized(limited.port());
  EXPECT_EQ(sized.ask(post(kPath, std::string(1001, ' ')))->status, 413);
  EXPECT_TRUE(sized.is_closed());
  RawClient announced(limited.port());
  EXPECT_EQ(announced.ask(head + "Content-Length: 999999999999999\r\n\r\n")->status, 413);
  RawClient chunked(limited.port());
  chunked.send(head + "Transfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 11; ++i) chunked.send("64\r\n" + std::string(100, ' ') + "\r\n");
  EXPECT_EQ(chunked.receive()->status, 413);
  RawClient one_chunk(limited.port());
  EXPECT_EQ(one_chunk.ask(head + "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n")->status, 413);
  RawClient most(limited.port());
  EXPECT_EQ(most.ask(post(kPath, kEmpty + std::string(1000 - kEmpty.size(), ' ')))->status, 200);
}

TEST(HttpLimits, BoundsTheMemoryOfAllBodies) {
  LimitedServer limited({.max_body_bytes = 1000, .max_buffered_bytes = 17100});
  const std::string head = "POST " + std::string(kPath) + " HTTP/1.1\r\nHost: a\r\n";
  // JSON of 985 bytes counts 17 times: once as it came, 16 times for what is parsed of it.
  const std::string padding(985 - kEmpty.size(), ' ');
  RawClient first(limited.port());
  first.send(head + "Content-Length: 1000\r\n\r\n" + kEmpty);
  std::optional<RawResponse> refused;
  for (int i = 0; i < 1000 && (!refused || refused->status == 200); ++i) {
    RawClient second(limited.port());  // refused once the first one's head has been read
    refused = second.ask(post(kPath, kEmpty + padding));
  }
  EXPECT_EQ(refused->status, 503);
  EXPECT_EQ(refused->header("Retry-After"), "1");
  first.send(std::string(1000 - kEmpty.size(), ' '));
  EXPECT_EQ(first.receive()->status, 200);
  RawClient third(limited.port());
  EXPECT_EQ(third.ask(post(kPath, kEmpty + padding))->status, 200);
}

TEST(HttpLimits, RefusesConnectionsBeyondTheMost) {
  LimitedServer limited({.max_connections = 2, .retry_after_seconds = 7});
  auto first = std::make_unique<RawClient>(limited.port());
  EXPECT_EQ(first->ask(get("/v2"))->header("Connection"), "");
  auto second = std::make_unique<RawClient>(limited.port());
  EXPECT_EQ(second->ask(get("/v2"))->header("Connection"), "close") << "the last place is not kept";
  EXPECT_TRUE(second->is_closed());
  second.reset();
  // Takes the place once it is free: a request that has begun has no answer yet, a refused one has.
  std::unique_ptr<RawClient> again;
  do {
    again = std::make_unique<RawClient>(limited.port());
    again->send("GET /v2");
  } while (again->receive(0.1));
  const std::optional<RawResponse> refused = RawClient(limited.port()).ask(get("/v2"));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 503);
  EXPECT_EQ(refused->header("Retry-After"), "7");
  first.reset();
  again->send(" HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(again->receive()->status, 200);
}

TEST(HttpLimits, EndsIdleConnections) {
  LimitedServer limited({.keep_alive_seconds = 0.2});
  RawClient client(limited.port());
  EXPECT_EQ(client.ask(get("/v2"))->status, 200);
  EXPECT_TRUE(client.is_closed());
}

TEST(HttpLimits, EndsAnswersThatNobodyReads) {
  LimitedServer limited({.write_seconds = 0.3});
  const std::string head =
      R"({"parameters":{"binary_data_output":true},"inputs":[{"name":"codes","datatype":"UINT8",)"
      R"("shape":[30000000],"parameters":{"binary_data_size":30000000}}]})";
  RawClient client(limited.port());
  client.send(post(kPath, head + std::string(30000000, 'x'),
                   "Inference-Header-Content-Length: " + std::to_string(head.size()) + "\r\n"));
  EXPECT_TRUE(limited.server.drain(std::chrono::seconds(20)));
}

class HttpToken : public ::testing::Test {
 protected:
  std::string write(const std::string& text) {
    std::ofstream(folder.file("token")) << text;
    return folder.file("token");
  }
  TemporaryFolder folder;
};

TEST_F(HttpToken, IsAskedForEverywhereButForHealth) {
  LimitedServer limited({.token_file = write("0123456789abcdef\n")});
  RawClient client(limited.port());
  for (const char* path : {"/v2/health/live", "/v2/health/ready", "/v2/models/fixed/ready"}) {
    EXPECT_EQ(client.ask(get(path))->status, 200) << path;
  }
  for (const char* path : {"/v2", "/v2/models/fixed", "/metrics", "/"}) {
    const RawResponse response = *client.ask(get(path));
    EXPECT_EQ(response.status, 401) << path;
    EXPECT_EQ(response.header("WWW-Authenticate"), "Bearer");
  }
  for (const char* value :
       {"Bearer 0123456789abcdeg", "Bearer 0123456789abcde", "Bearer ", "bearer 0123456789abcdef",
        "Basic 0123456789abcdef", "Bearer", "Bearer 0123456789abcdef0"}) {
    const std::string header = "Authorization: " + std::string(value) + "\r\n";
    EXPECT_EQ(client.ask(get("/v2", header))->status, 401) << value;
  }
  const std::string right = "Authorization: Bearer 0123456789abcdef\r\n";
  EXPECT_EQ(client.ask(get("/v2", right + right))->status, 401) << "which of the two?";
  EXPECT_EQ(client.ask(get("/v2", right))->status, 200);
  EXPECT_EQ(client.ask(post(kPath, kEmpty, right))->status, 200);
  EXPECT_EQ(client.ask(post(kPath, kEmpty))->status, 401);
  EXPECT_EQ(limited.service.answers, 1);
}

TEST_F(HttpToken, IsNotTakenWhereItIsWeak) {
  for (const char* text : {"", "\n", "short", "0123456789 abcdef", "0123456789abcdef\nmore"}) {
    EXPECT_THROWS_WITH(LimitedServer({.token_file = write(text)}),
                       "expected one line with a token");
  }
  EXPECT_THROWS_WITH(LimitedServer({.token_file = folder.file("none")}), "none");
}

TEST(HttpTls, NeedsBothFiles) {
  EXPECT_THROWS_WITH(LimitedServer({.tls_certificate = "a.pem"}), "got one without the other");
  EXPECT_THROWS_WITH(LimitedServer({.tls_certificate = "no.pem", .tls_key = "no.pem"}),
                     "cannot use serve.tls_certificate no.pem");
}

TEST(HttpTls, AnswersUnderTls) {
  TemporaryFolder folder;
  const std::string files =
      " -keyout " + folder.file("key.pem") + " -out " + folder.file("cert.pem");
  ASSERT_EQ(std::system(("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
                         " -addext subjectAltName=IP:127.0.0.1 2>/dev/null" +
                         files)
                            .c_str()),
            0);
  LimitedServer limited({.head_seconds = 1,
                         .tls_certificate = folder.file("cert.pem"),
                         .tls_key = folder.file("key.pem")});
  EXPECT_THAT(limited.server.url(), ::testing::StartsWith("https://"));
  const std::string ask =
      "printf 'GET /v2 HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' | "
      "openssl s_client -quiet -verify_return_error -CAfile " +
      folder.file("cert.pem") + " -connect 127.0.0.1:" + std::to_string(limited.port()) +
      " 2>/dev/null | grep -q kvalign";
  EXPECT_EQ(std::system(ask.c_str()), 0);
  RawClient plain(limited.port());  // no TLS: ended, without a word that is none either
  plain.send(get("/v2"));
  EXPECT_FALSE(plain.receive(5).has_value());
  EXPECT_EQ(std::system(ask.c_str()), 0);
}

TEST(HttpListener, SaysWhatItCannotListenOn) {
  EXPECT_THROWS_WITH(LimitedServer({.host = "no.such.host.invalid"}), "cannot listen on no.such");
  LimitedServer limited({});
  ServeOptions taken;
  taken.port = limited.port();
  FakeService service;
  EXPECT_THROWS_WITH(HttpServer(taken, service, {}), "Address already in use");
}

// Clients that ask all the time while the server is told to stop: each request that was sent is
// answered, or its connection had ended before.
TEST(HttpDrain, LosesNothing) {
  auto limited = std::make_unique<LimitedServer>(ServeOptions{});
  const int port = limited->port();
  std::atomic<int64_t> lost = 0;
  std::atomic<int64_t> answered = 0;
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&] {
      try {
        while (true) {
          RawClient client(port);
          while (true) {
            const auto response =
                client.ask(post(kPath, R"({"inputs":[],"parameters":{"sleep_ms":3}})"));
            if (!response || response->status != 200) {
              ++lost;
              return;
            }
            ++answered;
            if (response->header("Connection") == "close") break;
          }
        }
      } catch (const std::runtime_error&) {
        // Refused: the server has stopped.
      }
    });
  }
  RawClient idle(port);
  RawClient watching(port);
  EXPECT_EQ(watching.ask(get("/v2/health/ready"))->status, 200);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  std::thread draining([&] { EXPECT_TRUE(limited->server.drain(std::chrono::seconds(20))); });
  const RawResponse unready = *watching.ask(get("/v2/health/ready"));
  draining.join();
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(idle.is_closed());
  EXPECT_THROW(RawClient refused(port), std::runtime_error);
  EXPECT_EQ(lost, 0);
  EXPECT_GT(answered, 8);
  EXPECT_EQ(answered, limited->service.answers);
  // It may have been asked before the other thread began.
  if (unready.status == 503) {
    EXPECT_EQ(unready.header("Connection"), "close");
  }
}

TEST(HttpDrain, EndsWithinItsLimit) {
  LimitedServer limited({});
  RawClient client(limited.port());
  client.send(
      post("/v2/models/fixed/generate_stream", R"({"packet":"AAAA","parameters":{"sleep_ms":1}})"));
  while (limited.service.pieces < 5) std::this_thread::yield();
  const Clock::time_point start = Clock::now();
  EXPECT_FALSE(limited.server.drain(std::chrono::duration<double>(0.2)));
  EXPECT_LT(since(start), 20);
}

}  // namespace
}  // namespace kvalign
