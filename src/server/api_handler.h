// The server's paths: OpenAI's protocol, vLLM's additions to it, health and metrics.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "server/http/http_message.h"
#include "server/metrics.h"
#include "server/protocol/api_error.h"
#include "server/served_model.h"
#include "server/waiting_places.h"
#include "server/web/engine_watch.h"

namespace tessera {

struct ApiOptions {
  std::string version;                // of the program
  std::vector<std::string> api_keys;  // of /v1, /tokenize and alike; empty: everybody may
  // Whose pages may use the server from browsers; empty: no other origin's; "*": each may.
  std::vector<std::string> cors_origins;
  int64_t max_queued_requests = 8192;  // answers that wait for their first token: see WaitingPlaces
  int32_t max_logprobs = 20;           // for each token, beside its own; as vLLM has it
  // Between two events of a stream, while more than 64 requests are answered; tokens that come
  // sooner share an event.
  std::chrono::milliseconds stream_gap{40};
  bool log_requests = false;  // a line for each; otherwise for failures of the server only
  std::function<void(const std::string& line)> log;  // may be null; thread-safe
};

// Thread-safe.
class ApiHandler : public HttpHandler {
 public:
  explicit ApiHandler(ApiOptions options);

  // Until SetModel: what clients are told about the loading. `fraction` < 0: unknown.
  void SetLoading(const std::string& phase, double fraction);
  // Called once; the model outlives the requests.
  void SetModel(std::unique_ptr<ServedModel> model);
  // From now on new generations are refused with 503.
  void StartDraining() { draining_ = true; }
  int64_t num_active() const { return active_; }  // generations under way
  // What /metrics calls the number of open connections.
  void CountConnectionsBy(std::function<int64_t()> count);

  std::optional<HttpResponse> Screen(const HttpRequest& head) override;
  HttpAnswer Handle(const HttpRequest& request, std::function<void()> wake) override;
  bool TakesLong(const HttpRequest& request) override;
  HttpHeaders Sending(const HttpRequest& head, int status) override;
  void Answered(const HttpRequest& head, const AnswerRecord& record) override;
  HttpResponse Refuse(int status, const std::string& message) override;

 private:
  struct Route;
  struct Loading {
    std::string phase = "starting";
    double fraction = -1;
  };
  using Wake = std::function<void()>;

  static const Route* FindRoute(const std::string& path);
  // What CORS lets the request's origin be told: "" nothing.
  std::string AllowedOrigin(const HttpRequest& head) const;
  HttpResponse Preflight(const HttpRequest& head) const;
  bool HasKey(const HttpRequest& head) const;
  std::string ClientOf(const HttpRequest& http, const GenerationRequest& request) const;
  ApiError NotLoaded();

  HttpAnswer Completions(const HttpRequest& request, const Wake& wake);
  HttpAnswer Chats(const HttpRequest& request, const Wake& wake);
  HttpAnswer Generate(GenerationRequest request, const HttpRequest& http, const char* id_prefix,
                      const Wake& wake);
  HttpAnswer Models(const HttpRequest& request, const Wake& wake);
  HttpAnswer OneModel(const HttpRequest& request, const Wake& wake);
  HttpAnswer Tokenize(const HttpRequest& request, const Wake& wake);
  HttpAnswer Detokenize(const HttpRequest& request, const Wake& wake);
  HttpAnswer TokenizerInfo(const HttpRequest& request, const Wake& wake);
  HttpAnswer Health(const HttpRequest& request, const Wake& wake);
  HttpAnswer Version(const HttpRequest& request, const Wake& wake);
  HttpAnswer Metrics(const HttpRequest& request, const Wake& wake);
  HttpAnswer Page(const HttpRequest& request, const Wake& wake);
  HttpAnswer EngineState(const HttpRequest& request, const Wake& wake);
  HttpAnswer EngineEvents(const HttpRequest& request, const Wake& wake);
  HttpAnswer EngineBackend(const HttpRequest& request, const Wake& wake);
  std::string NewId(const char* prefix);

  const ApiOptions options_;
  ServerMetrics metrics_;
  WaitingPlaces places_;
  std::atomic<ServedModel*> model_{nullptr};  // null while loading
  std::unique_ptr<ServedModel> owned_model_;
  std::unique_ptr<EngineWatch> watch_;  // there as soon as the model is
  std::atomic<bool> draining_{false};
  std::atomic<int64_t> active_{0};
  std::atomic<uint64_t> last_id_;

  std::mutex mutex_;
  Loading loading_;
  std::function<int64_t()> count_connections_;
};

}  // namespace tessera
