// Memory that runs out at every place of the server in turn: the request under way ends, and
// nothing else. Allocations of this program fail on demand, but for those of the test's own thread
// and the small blocks of Asio's operations, which do not come from operator new and are mostly
// used again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "server/http/http_server.h"
#include "server/http/turn_queue.h"
#include "server/testing/test_server.h"

namespace {

thread_local bool is_exempt = false;
std::atomic<bool> is_armed{false};
std::atomic<int64_t> allocations_left{0};  // while armed: until one fails
std::atomic<bool> stays_out{false};        // all later ones fail as well
std::atomic<int64_t> num_failed{0};

void Arm(int64_t allocations, bool lasting) {
  stays_out = lasting;
  allocations_left = allocations;
  is_armed = true;
}

bool MemoryIsOut() {
  if (is_exempt || !is_armed) return false;
  const int64_t left = allocations_left.fetch_sub(1);
  if (left > 0 || (left < 0 && !stays_out)) return false;
  ++num_failed;
  return true;
}

void* Allocate(std::size_t bytes, std::size_t alignment) {
  void* memory = nullptr;
  if (MemoryIsOut() || posix_memalign(&memory, alignment, bytes) != 0) return nullptr;
  return memory;
}

void* AllocateOrThrow(std::size_t bytes, std::size_t alignment) {
  void* const memory = Allocate(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return AllocateOrThrow(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return AllocateOrThrow(bytes, static_cast<std::size_t>(alignment));
}
// Inlined without operator new, these are a mismatched free() to g++ 12.
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace tessera::testing {
namespace {

using std::chrono::milliseconds;

// Three pieces, each of which asks for the next one.
class ThreePieces : public Exchange {
 public:
  explicit ThreePieces(std::function<void()> wake) : wake_(std::move(wake)) {}
  Output Poll() override {
    Output output;
    if (pieces_ == 0) output.head.emplace();
    output.data = std::string(100, 'x');
    output.end = ++pieces_ == 3;
    wake_();
    return output;
  }

 private:
  const std::function<void()> wake_;
  int pieces_ = 0;
};

class Handler : public HttpHandler {
 public:
  std::atomic<int64_t> num_failures{0};  // that were reported
  std::atomic<int64_t> num_broken{0};    // of these, connections without an answer

  std::optional<HttpResponse> Screen(const HttpRequest&) override { return std::nullopt; }
  HttpAnswer Handle(const HttpRequest& request, std::function<void()> wake) override {
    if (request.path == "/stream") return std::make_unique<ThreePieces>(std::move(wake));
    HttpResponse response;
    response.body = request.body.substr(0, 1000) + std::string(100, 'x');
    return response;
  }
  bool TakesLong(const HttpRequest& request) override { return request.path == "/long"; }
  HttpHeaders Sending(const HttpRequest&, int) override { return {}; }
  HttpResponse Refuse(int status, const std::string& message) override {
    HttpResponse response;
    response.status = status;
    response.body = message;
    return response;
  }
  void Answered(const HttpRequest&, const AnswerRecord& record) override {
    if (!record.failure.empty() || record.notes.error_status != 0) ++num_failures;
    if (record.status == 0 && record.notes.error_status != 0) ++num_broken;
  }
};

class HttpMemoryTest : public ::testing::Test {
 protected:
  HttpMemoryTest() {
    is_exempt = true;
    HttpServerOptions options;
    options.port = 0;
    options.threads = 2;
    server_ = std::move(HttpServer::Start(options, &handler_)).value();
  }
  ~HttpMemoryTest() override {
    is_armed = false;
    server_->Stop();
  }

  // Asks with the n-th allocation failing, and `lasting` all after it until the request was sent.
  // False if there were not as many.
  bool AskWithout(int64_t n, bool lasting, const std::string& request) {
    const int64_t failed_before = num_failed;
    const int64_t reported_before = handler_.num_failures;
    Arm(n, lasting);
    HttpClient client(server_->port());
    client.Send(request);
    if (lasting) {
      std::this_thread::sleep_for(milliseconds(5));
      is_armed = false;
    }
    const ClientResponse response = client.Receive();
    is_armed = false;
    EXPECT_TRUE(response.status == 200 || response.status == 503 || response.status == 0)
        << response.status;
    if (response.status == 503) {
      EXPECT_TRUE(Eventually([&] { return handler_.num_failures > reported_before; }));
    }
    client.Close();
    EXPECT_EQ(Ask(server_->port(), GetText("/short")).status, 200) << "the next one is served";
    return num_failed > failed_before;
  }

  void Sweep(bool lasting) {
    for (const char* const path : {"/short", "/long", "/stream"}) {
      const std::string request = PostText(path, std::string(20000, 'x'));
      int64_t n = 0, in_vain = 0;
      for (; in_vain < 3; ++n) in_vain = AskWithout(n, lasting, request) ? 0 : in_vain + 1;
      EXPECT_GT(n, 20) << path;
    }
    EXPECT_TRUE(Eventually([&] { return server_->num_connections() == 0; }));
  }

  Handler handler_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpMemoryTest, OneAllocationFails_TheNextRequestIsServedAndTheFailureReported) {
  Sweep(/*lasting=*/false);
  EXPECT_GT(handler_.num_failures, handler_.num_broken);
  EXPECT_GT(handler_.num_broken, 0) << "an end without an answer is reported";
}

TEST_F(HttpMemoryTest, AllAllocationsFailForAWhile_TheNextRequestIsServed) {
  ::testing::internal::CaptureStderr();
  Sweep(/*lasting=*/true);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              ::testing::HasSubstr("warning: memory ran out; a connection was closed\n"));
}

TEST(TurnQueueMemoryTest, NoMemoryToPost_TheQueueStaysUsable) {
  is_exempt = true;
  for (int64_t n = 0; n < 8; ++n) {
    TurnQueue queue;
    is_exempt = false;
    Arm(n, /*lasting=*/false);
    try {
      queue.Post("a client whose name takes memory of its own", [] {});
    } catch (const std::bad_alloc&) {
    }
    is_armed = false;
    is_exempt = true;
    std::atomic<bool> done{false};
    queue.Post("another", [&] { done = true; });
    EXPECT_TRUE(Eventually([&] { return done.load(); }));
  }
}

TEST(TurnQueueMemoryTest, NoMemoryInItsThread_TheWorkIsDoneLater) {
  is_exempt = true;
  TurnQueue queue;
  std::atomic<bool> done{false};
  const int64_t failed_before = num_failed;
  Arm(0, /*lasting=*/true);
  queue.Post("a client whose name takes memory of its own", [&] { done = true; });
  ASSERT_TRUE(Eventually([&] { return num_failed > failed_before; }));
  is_armed = false;
  EXPECT_TRUE(Eventually([&] { return done.load(); }));
}

}  // namespace
}  // namespace tessera::testing
