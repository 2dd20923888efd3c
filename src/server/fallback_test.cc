// What clients see of a device that is lost, with another one that takes over and without.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/testing/fake_model.h"
#include "server/testing/test_server.h"

namespace tessera::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kCompletion =
    R"({"prompt": [1, 2, 3], "max_tokens": 4, "temperature": 0, "return_token_ids": true})";

// The server over an engine on the fake model.
struct LossyServer {
  explicit LossyServer(std::function<Result<EngineParts>()> load_fallback) : server(Unloaded()) {
    EngineParts parts = MakeFakeParts({.device_lost = &lost}, &counters);
    parts.load_fallback = std::move(load_fallback);
    engine = std::move(Engine::Create(SmallOptions(), std::move(parts))).value();
    server.handler().SetModel(
        std::make_unique<ServedModel>(engine.get(), std::vector<std::string>{"fake"}, "directory"));
  }
  ~LossyServer() {
    server.http().Stop();
    engine->WaitIdle();
  }
  Json Health(int status) {
    const ClientResponse response = server.Get("/health");
    EXPECT_EQ(response.status, status);
    return Json::parse(response.body);
  }

  // Whether /metrics says that the device works.
  void ExpectDevice(int works) {
    EXPECT_THAT(server.Get("/metrics").body,
                HasSubstr("device=\"" + engine->stats().device + "\"} " + std::to_string(works)));
  }

  std::atomic<bool> lost{false};
  FakeCounters counters;
  TestServer server;  // its handler is used by the engine's callbacks: it ends after the engine
  std::unique_ptr<Engine> engine;
};

TEST(LostDeviceTest, WithoutFallback_RequestsGetItsErrorAndHealthSaysFailed) {
  LossyServer lossy(nullptr);
  EXPECT_EQ(lossy.server.Post("/v1/completions", kCompletion).status, 200);
  EXPECT_EQ(lossy.Health(200), Json({{"status", "ok"}}));
  lossy.lost = true;
  const ClientResponse failed = lossy.server.Post("/v1/completions", kCompletion);
  EXPECT_EQ(failed.status, 500);
  EXPECT_THAT(Json::parse(failed.body)["error"]["message"].get<std::string>(),
              HasSubstr("the fake device was lost"));
  EXPECT_EQ(lossy.Health(503), Json({{"status", "failed"}, {"error", "the fake device was lost"}}));
  lossy.ExpectDevice(0);
  EXPECT_EQ(lossy.server.Metric("tessera:device_fallbacks_total"), 0);
}

TEST(LostDeviceTest, WithFallback_WaitingRequestIsAnsweredAndHealthSaysDegraded) {
  std::atomic<bool> may_load{false};
  FakeCounters fallback;
  LossyServer lossy([&]() -> Result<EngineParts> {
    EXPECT_TRUE(Eventually([&] { return may_load.load(); }));
    return MakeFakeParts({}, &fallback);
  });
  const ClientResponse before = lossy.server.Post("/v1/completions", kCompletion);
  lossy.lost = true;
  HttpClient client(lossy.server.port());
  ASSERT_TRUE(client.Send(PostText("/v1/completions", kCompletion)));
  ASSERT_TRUE(Eventually([&] { return lossy.engine->stats().falling_back; }));
  const Json loading = lossy.Health(503);
  EXPECT_EQ(loading["status"], "loading");
  EXPECT_EQ(loading["error"], "the fake device was lost");
  lossy.ExpectDevice(0);
  EXPECT_EQ(lossy.server.Metric("tessera:num_requests_waiting"), 1);

  may_load = true;
  const ClientResponse after = client.Receive();
  EXPECT_EQ(after.status, 200);
  EXPECT_EQ(Json::parse(after.body)["choices"], Json::parse(before.body)["choices"]);
  const Json degraded = lossy.Health(200);
  EXPECT_EQ(degraded["status"], "degraded");
  EXPECT_EQ(degraded["error"], "the fake device was lost");
  EXPECT_EQ(degraded["device"], lossy.engine->stats().device);
  lossy.ExpectDevice(1);
  EXPECT_EQ(lossy.server.Metric("tessera:device_fallbacks_total"), 1);
}

}  // namespace
}  // namespace tessera::testing
