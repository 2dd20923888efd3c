// Sends any bytes to the HTTP server over a connection, in pieces, and ends it in one of several
// ways: what comes back is HTTP, the next client is served, and no connection is left over.
//
// The first byte of an input says how the connection ends, the second one how long the pieces are.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "server/http/http_server.h"
#include "server/testing/http_client.h"
#include "tessera/result.h"

namespace {

using tessera::testing::ClientResponse;
using tessera::testing::GetText;
using tessera::testing::HttpClient;

// A stream of some pieces, each ready as soon as the one before was taken.
class Pieces : public tessera::Exchange {
 public:
  explicit Pieces(std::function<void()> wake) : wake_(std::move(wake)) {}

  Output Poll() override {
    Output output;
    if (left_ == kPieces) output.head.emplace();
    output.data.assign(100, 'x');
    output.end = --left_ == 0;
    wake_();
    return output;
  }

 private:
  static constexpr int kPieces = 8;
  const std::function<void()> wake_;
  int left_ = kPieces;
};

class Handler : public tessera::HttpHandler {
 public:
  std::optional<tessera::HttpResponse> Screen(const tessera::HttpRequest& head) override {
    if (head.path.starts_with("/no")) return Refuse(404, "no");
    return std::nullopt;
  }
  tessera::HttpAnswer Handle(const tessera::HttpRequest& request,
                             std::function<void()> wake) override {
    if (request.path.starts_with("/pieces")) return std::make_unique<Pieces>(std::move(wake));
    tessera::HttpResponse response;
    response.body = request.method + request.path + request.query + request.body;
    return response;
  }
  bool TakesLong(const tessera::HttpRequest& request) override {
    return request.body.find("long") != std::string::npos;
  }
  tessera::HttpHeaders Sending(const tessera::HttpRequest& /*head*/, int /*status*/) override {
    return {{"X-Sent", "yes"}};
  }
  tessera::HttpResponse Refuse(int status, const std::string& message) override {
    tessera::HttpResponse response;
    response.status = status;
    response.body = message;
    return response;
  }
};

struct Server {
  Handler handler;
  std::unique_ptr<tessera::HttpServer> server;

  Server() {
    tessera::HttpServerOptions options;
    options.port = 0;
    options.max_header_bytes = 2 << 10;
    options.max_body_bytes = 4 << 10;
    options.long_body_bytes = 512;
    options.large_body_bytes = 2 << 10;
    options.header_timeout = options.body_timeout = std::chrono::milliseconds(30);
    options.write_timeout = options.idle_timeout = std::chrono::milliseconds(30);
    auto started = tessera::HttpServer::Start(options, &handler);
    TESSERA_CHECK(started.ok());
    server = std::move(started).value();
  }
};

void SendInPieces(HttpClient* client, std::string_view bytes, size_t piece) {
  while (!bytes.empty()) {
    const std::string_view next = bytes.substr(0, piece);
    if (!client->Send(next)) return;  // refused early
    bytes.remove_prefix(next.size());
  }
}

// The system gives a new connection the numbers of one that has just ended; then it may fail.
std::unique_ptr<HttpClient> Connect(uint16_t port) {
  for (int i = 0; i < 100; ++i) {
    auto client = std::make_unique<HttpClient>(port);
    if (client->connected()) return client;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  TESSERA_CHECK(false, "the server takes no connections");
  return nullptr;
}

void ReceiveOne(HttpClient* client) {
  const ClientResponse response = client->Receive();
  if (response.status == 0) return;
  TESSERA_CHECK(response.head.starts_with("HTTP/1.1 "));
  TESSERA_CHECK(response.status == 100 || !tessera::HttpReason(response.status).empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Server server;
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const uint16_t port = server.server->port();
  {
    const std::unique_ptr<HttpClient> client = Connect(port);
    SendInPieces(client.get(), bytes, data[1] == 0 ? bytes.size() : data[1]);
    if (data[0] % 2 == 1) ReceiveOne(client.get());
    // Mostly with a reset: otherwise the system would soon have no port left.
    if (data[0] % 4 != 2) client->Abort();
  }
  const std::unique_ptr<HttpClient> next = Connect(port);
  TESSERA_CHECK(next->Send(GetText("/next")) && next->Receive().body == "GET/next");
  next->Abort();
  for (int i = 0; server.server->num_connections() > 0; ++i) {
    TESSERA_CHECK(i < 10'000, "a connection is left over");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return 0;
}
