// What the connections do with handlers of every kind, without a model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/http/http_server.h"
#include "server/testing/test_server.h"

namespace tessera::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

HttpResponse Text(std::string body) {
  HttpResponse response;
  response.body = std::move(body);
  return response;
}

Exchange::Output Part(std::optional<HttpResponse> head, std::string data, bool end = false) {
  return {std::move(head), std::move(data), end};
}

// Gives the outputs one after another; then nothing more, if none was the end.
class ScriptedExchange : public Exchange {
 public:
  ScriptedExchange(std::vector<Output> outputs, std::atomic<int>* alive)
      : outputs_(std::move(outputs)), alive_(alive) {
    ++*alive_;
  }
  ~ScriptedExchange() override { --*alive_; }

  Output Poll() override { return next_ < outputs_.size() ? outputs_[next_++] : Output(); }

  Output Cut() override {
    Output output;
    if (next_ > 0) output.data = "cut";
    output.end = true;
    return output;
  }

 private:
  const std::vector<Output> outputs_;
  std::atomic<int>* const alive_;
  size_t next_ = 0;
};

class ScriptedHandler : public HttpHandler {
 public:
  std::function<HttpAnswer(const HttpRequest&)> handle = [](const HttpRequest& request) {
    return Text(request.path + " " + std::to_string(request.body.size()));
  };
  bool takes_long = false;

  std::optional<HttpResponse> Screen(const HttpRequest& /*head*/) override { return std::nullopt; }
  HttpAnswer Handle(const HttpRequest& request, std::function<void()> /*wake*/) override {
    return handle(request);
  }
  bool TakesLong(const HttpRequest& /*request*/) override { return takes_long; }
  HttpHeaders Sending(const HttpRequest& /*head*/, int /*status*/) override { return {}; }
  HttpResponse Refuse(int status, const std::string& message) override {
    HttpResponse response = Text(message);
    response.status = status;
    return response;
  }
  void Answered(const HttpRequest& head, const AnswerRecord& record) override {
    const std::lock_guard lock(mutex_);
    records_.emplace_back(head.target, record);
  }

  std::vector<std::pair<std::string, AnswerRecord>> Records() {
    const std::lock_guard lock(mutex_);
    return records_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::pair<std::string, AnswerRecord>> records_;
};

class ConnectionTest : public ::testing::Test {
 protected:
  ConnectionTest() { options_.port = 0; }

  uint16_t Start() {
    auto server = HttpServer::Start(options_, &handler_);
    EXPECT_TRUE(server.ok()) << (server.ok() ? "" : server.error().message);
    server_ = std::move(server).value();
    return server_->port();
  }

  void AnswerWith(std::vector<Exchange::Output> outputs) {
    handler_.handle = [this, script = std::move(outputs)](const HttpRequest& /*request*/) {
      return std::make_unique<ScriptedExchange>(script, &alive_);
    };
  }

  HttpServerOptions options_;
  ScriptedHandler handler_;
  std::atomic<int> alive_ = 0;  // exchanges
  std::unique_ptr<HttpServer> server_;
};

TEST_F(ConnectionTest, NothingOfAnExchangeIsLost) {
  struct Case {
    std::vector<Exchange::Output> outputs;
    const char* framing;
  };
  for (const Case& c : {
           Case{{Part(Text("a"), "bc", true)}, "Content-Length: 3"},
           Case{{Part(Text(""), "abc", true)}, "Content-Length: 3"},
           Case{{Part(Text("abc"), "", true)}, "Content-Length: 3"},
           Case{{Part(Text("a"), "b"), Part({}, "c", true)}, "chunked"},
           Case{{Part(Text(""), ""), Part({}, "abc"), Part({}, "", true)}, "chunked"},
       }) {
    AnswerWith(c.outputs);
    const uint16_t port = Start();
    HttpClient client(port);
    for (int i = 0; i < 2; ++i) {
      client.Send(GetText("/"));
      const ClientResponse response = client.Receive();
      EXPECT_EQ(response.body, "abc");
      EXPECT_THAT(response.head, HasSubstr(c.framing));
    }
    HttpClient old(port);
    old.Send("GET / HTTP/1.0\r\n\r\n");
    EXPECT_TRUE(old.ReceiveUntil("\r\n\r\nabc"));
    EXPECT_TRUE(old.IsClosedByServer());
  }
}

TEST_F(ConnectionTest, SteadyReadersAreNotGivenUp) {
  options_.write_timeout = milliseconds(1000);
  constexpr size_t kPiece = 1 << 20, kPieces = 30;
  handler_.handle = [](const HttpRequest& /*request*/) {
    return Text(std::string(kPiece * kPieces, 'x'));
  };
  const uint16_t port = Start();
  HttpClient client(port);
  client.Send(GetText("/"));
  ASSERT_TRUE(client.ReceiveUntil("\r\n\r\n"));
  const Clock::time_point start = Clock::now();
  for (size_t i = 0; i < kPieces; ++i) {
    std::this_thread::sleep_for(milliseconds(100));
    ASSERT_TRUE(client.Skip(kPiece)) << "piece " << i;
  }
  EXPECT_GT(Clock::now() - start, 2 * options_.write_timeout);
  client.Send(GetText("/"));
  EXPECT_TRUE(client.ReceiveUntil("200 OK"));
}

TEST_F(ConnectionTest, UploadsMustMakeProgress) {
  options_.body_timeout = milliseconds(1000);
  options_.min_bytes_per_second = 1000;
  const uint16_t port = Start();
  const std::string request = PostText("/", std::string(4000, 'x'));
  const size_t head = request.find("\r\n\r\n") + 4;
  struct Case {
    size_t piece;  // sent each 50 ms
    int status;
  };
  for (const Case& c : {Case{100, 200}, Case{1, 408}}) {
    SCOPED_TRACE(c.piece);
    HttpClient client(port);
    client.Send(request.substr(0, head));
    std::atomic<bool> answered = false;
    std::thread sender([&] {
      for (size_t i = head; i < request.size() && !answered; i += c.piece) {
        std::this_thread::sleep_for(milliseconds(50));
        client.Send(std::string_view(request).substr(i, c.piece));
      }
    });
    const ClientResponse response = client.Receive();
    answered = true;
    sender.join();
    EXPECT_EQ(response.status, c.status);
  }
}

// Bytes that came quickly do not pay for long silence after them.
TEST_F(ConnectionTest, SpeedAtFirstBuysNoHours) {
  options_.body_timeout = milliseconds(600);
  options_.min_bytes_per_second = 1000;
  const uint16_t port = Start();
  HttpClient client(port);
  const std::string request = PostText("/", std::string(2000000, 'x'));
  client.Send(std::string_view(request).substr(0, 1900000));
  std::atomic<bool> answered = false;
  std::thread sender([&] {
    for (size_t i = 1900000; i < 1900000 + 500 && !answered; ++i) {
      std::this_thread::sleep_for(milliseconds(50));
      client.Send(std::string_view(request).substr(i, 1));
    }
  });
  EXPECT_EQ(client.Receive().status, 408);
  answered = true;
  sender.join();
}

TEST_F(ConnectionTest, WorkOfWhoHasLeftIsNotBegun) {
  handler_.takes_long = true;
  std::atomic<bool> begun = false, go_on = false;
  std::atomic<int> handled = 0;
  handler_.handle = [&](const HttpRequest& request) {
    if (request.path == "/first") {
      begun = true;
      while (!go_on) std::this_thread::sleep_for(milliseconds(1));
    }
    ++handled;
    return Text(request.path);
  };
  const uint16_t port = Start();
  HttpClient first(port);
  first.Send(GetText("/first"));
  ASSERT_TRUE(Eventually([&] { return begun.load(); }));
  {
    std::vector<std::unique_ptr<HttpClient>> leaving;
    for (int i = 0; i < 20; ++i) {
      leaving.push_back(std::make_unique<HttpClient>(port));
      leaving.back()->Send(GetText("/leaving"));
    }
    ASSERT_TRUE(Eventually([&] { return server_->num_connections() == 21; }));
  }
  ASSERT_TRUE(Eventually([&] { return server_->num_connections() == 1; }));
  HttpClient last(port);
  last.Send(GetText("/last"));
  go_on = true;
  EXPECT_EQ(first.Receive().body, "/first");
  EXPECT_EQ(last.Receive().body, "/last");
  EXPECT_EQ(handled, 2);
}

// An exchange that fails ends its answer and says so.
TEST_F(ConnectionTest, ExchangesMayFail) {
  struct Failing : public Exchange {
    Output Poll() override { throw std::bad_alloc(); }
    Output Cut() override { throw std::bad_alloc(); }
  };
  handler_.handle = [](const HttpRequest&) { return std::make_unique<Failing>(); };
  const uint16_t port = Start();
  const ClientResponse response = Ask(port, GetText("/"));
  EXPECT_EQ(response.status, 503);
  EXPECT_THAT(response.body, HasSubstr("Memory ran out"));

  struct FailingLater : public Failing {
    Output Poll() override {
      if (std::exchange(begun, true)) throw std::runtime_error("it broke");
      return Part(Text(""), "begin");
    }
    bool begun = false;
  };
  handler_.handle = [](const HttpRequest&) { return std::make_unique<FailingLater>(); };
  HttpClient client(port);
  client.Send(GetText("/later"));
  EXPECT_TRUE(client.ReceiveUntil("begin"));
  ASSERT_TRUE(Eventually([&] { return handler_.Records().size() == 2; }));
  const AnswerRecord record = handler_.Records().back().second;
  EXPECT_EQ(record.notes.error_status, 500);
  EXPECT_THAT(record.notes.error, HasSubstr("it broke"));
  EXPECT_FALSE(record.is_complete);
}

TEST_F(ConnectionTest, WhoSendsTooMuchAheadIsCutOff) {
  AnswerWith({Part(Text(""), "begin")});
  const uint16_t port = Start();
  for (const size_t ahead : {size_t{50} << 10, size_t{1} << 20}) {
    HttpClient client(port);
    client.Send(GetText("/"));
    ASSERT_TRUE(client.ReceiveUntil("begin"));
    client.Send(std::string(ahead, 'x'));
    if (ahead < (100 << 10)) {
      std::this_thread::sleep_for(milliseconds(50));
      EXPECT_EQ(alive_, 1) << "what is sent ahead may be the next request";
      client.Close();
    }
    EXPECT_TRUE(Eventually([&] { return alive_ == 0; }));
  }
}

TEST_F(ConnectionTest, SmallWorkDoesNotWaitForLargeBodies) {
  handler_.takes_long = true;
  options_.large_body_bytes = 1000;
  std::mutex mutex;
  std::condition_variable changed;
  bool small_done = false;
  handler_.handle = [&](const HttpRequest& request) {
    std::unique_lock lock(mutex);
    if (request.body.size() <= 1000) {
      small_done = true;
      changed.notify_all();
      return Text("small");
    }
    const bool in_time =
        changed.wait_for(lock, std::chrono::seconds(30), [&] { return small_done; });
    return Text(in_time ? "after the small one" : "alone");
  };
  const uint16_t port = Start();
  HttpClient large(port);
  large.Send(PostText("/", std::string(1001, 'x')));
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(Ask(port, PostText("/", "x")).body, "small");
  EXPECT_EQ(large.Receive().body, "after the small one");
}

TEST_F(ConnectionTest, BodiesInAllAreBounded) {
  options_.max_body_bytes_in_all = 100000;
  options_.long_body_bytes = 1000;
  std::atomic<bool> begun = false, go_on = false;
  handler_.handle = [&](const HttpRequest& request) {
    begun = true;
    while (request.body.size() > 1000 && !go_on) std::this_thread::sleep_for(milliseconds(1));
    return Text(std::to_string(request.body.size()));
  };
  const uint16_t port = Start();
  const std::string large = PostText("/", std::string(80000, 'x'));
  HttpClient first(port);
  first.Send(large);
  ASSERT_TRUE(Eventually([&] { return begun.load(); }));
  const ClientResponse refused = Ask(port, PostText("/", std::string(30000, 'x')));
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.body, HasSubstr("memory"));
  EXPECT_EQ(Ask(port, PostText("/", "x")).status, 200) << "there is room for small ones";
  go_on = true;
  EXPECT_EQ(first.Receive().body, "80000");

  // What is not taken up any more is given back, whatever its end.
  EXPECT_EQ(Ask(port, PostText("/", std::string(100001, 'x'))).status, 503);
  HttpClient gone(port);
  gone.Send(large.substr(0, 60000));
  gone.Close();
  EXPECT_TRUE(Eventually([&] { return Ask(port, large).status == 200; }));
}

TEST_F(ConnectionTest, TargetsAndHeads) {
  const uint16_t port = Start();
  EXPECT_EQ(Ask(port, GetText("/a%2Fb?c")).body, "/a/b 0");
  EXPECT_EQ(Ask(port, GetText("http://somewhere/health")).body, "/health 0");
  const ClientResponse hostless = Ask(port, "GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(hostless.status, 400);
  EXPECT_THAT(hostless.body, HasSubstr("Host"));
  EXPECT_EQ(Ask(port, "GET / HTTP/1.0\r\n\r\n").status, 200);
  const ClientResponse packed = Ask(port, PostText("/", "x", "Content-Encoding: gzip\r\n"));
  EXPECT_EQ(packed.status, 415);
  EXPECT_THAT(packed.body, HasSubstr("gzip"));
  EXPECT_THAT(Ask(port, GetText("/")).head, ::testing::ContainsRegex("Date: .* GMT\r\n"));
}

TEST_F(ConnectionTest, StopLetsStreamsEndProperly) {
  AnswerWith({Part(Text(""), "begin ")});
  uint16_t port = Start();
  HttpClient stream(port);
  stream.Send(GetText("/"));
  HttpClient idle(port);
  ASSERT_TRUE(Eventually([&] { return alive_ == 1; }));
  ClientResponse response;
  std::thread reader([&] {
    response = stream.Receive();
    stream.Close();
  });
  ASSERT_TRUE(Eventually([&] { return server_->num_connections() == 2; }));
  std::this_thread::sleep_for(milliseconds(50));
  const Clock::time_point start = Clock::now();
  server_->Stop();
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
  reader.join();
  EXPECT_EQ(response.body, "begin cut") << "and the end of the chunks";
  EXPECT_TRUE(idle.IsClosedByServer());

  AnswerWith({});
  port = Start();
  HttpClient whole(port);
  whole.Send(GetText("/"));
  ASSERT_TRUE(Eventually([&] { return alive_ == 1; }));
  HttpClient half(port);
  half.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12");
  std::this_thread::sleep_for(milliseconds(50));
  server_->Stop();
  for (HttpClient* client : {&whole, &half}) {
    const ClientResponse refused = client->Receive();
    EXPECT_EQ(refused.status, 503);
    EXPECT_THAT(refused.body, HasSubstr("shutting down"));
  }
}

TEST_F(ConnectionTest, EveryRequestIsReportedOnce) {
  uint16_t port = Start();
  HttpClient client(port);
  client.Send(GetText("/a%20b") + GetText("/c"));
  client.Receive();
  client.Receive();
  client.Close();
  HttpClient gone(port);
  gone.Send("POST /gone HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12");
  gone.Close();
  Ask(port, "nonsense\r\n\r\n");
  ASSERT_TRUE(Eventually([&] { return handler_.Records().size() == 4; }));
  std::vector<std::pair<std::string, int>> seen;
  for (const auto& [target, record] : handler_.Records()) {
    seen.emplace_back(target, record.status);
    EXPECT_EQ(record.is_complete, record.status != 0);
    EXPECT_GE(record.seconds, 0);
  }
  EXPECT_THAT(seen, ::testing::UnorderedElementsAre(std::pair("/a%20b", 200), std::pair("/c", 200),
                                                    std::pair("/gone", 0), std::pair("", 400)));

  handler_.handle = [](const HttpRequest& /*request*/) -> HttpAnswer {
    throw std::runtime_error("no such luck");
  };
  EXPECT_EQ(Ask(port, GetText("/fails")).status, 500);
  ASSERT_TRUE(Eventually([&] { return handler_.Records().size() == 5; }));
  EXPECT_THAT(handler_.Records().back().second.failure, HasSubstr("no such luck"));
}

TEST_F(ConnectionTest, SurplusConnectionsAreReported) {
  options_.max_connections = 1;
  const uint16_t port = Start();
  HttpClient first(port);
  ASSERT_TRUE(Eventually([&] { return server_->num_connections() == 1; }));
  EXPECT_EQ(Ask(port, GetText("/")).status, 503);
  ASSERT_TRUE(Eventually([&] { return handler_.Records().size() == 1; }));
  EXPECT_EQ(handler_.Records()[0].second.status, 503);
  EXPECT_THAT(handler_.Records()[0].second.failure, HasSubstr("--max-connections"));
}

TEST_F(ConnectionTest, NamesWithSeveralAddresses) {
  options_.host = "localhost";
  const uint16_t port = Start();
  EXPECT_EQ(Ask(port, GetText("/")).status, 200);
}

}  // namespace
}  // namespace tessera::testing
