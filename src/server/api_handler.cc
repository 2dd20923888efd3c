#include "server/api_handler.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <limits>
#include <utility>

#include "server/access_log.h"
#include "server/generation_exchange.h"
#include "server/http/http_wire.h"
#include "server/protocol/answer_limits.h"
#include "server/protocol/chat_messages.h"
#include "server/web/engine_exchange.h"
#include "server/web/web_files.h"

namespace tessera {
namespace {

constexpr std::string_view kBearer = "bearer ";  // in lower case

// Takes as long for a wrong key as for the right one.
bool SameSecret(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(other);
  }
  return difference == 0;
}

// Of a text that is only tokenized: it need not fit into the model, but others wait for it. Tokens
// that are turned to text are as many at most.
int64_t MostBytes(const ServedModel& model) {
  constexpr int64_t kMostBytes = 1 << 20;
  constexpr int64_t kBytesOfToken = 16;
  return std::max(kMostBytes, kBytesOfToken * model.engine().max_model_len());
}

// The API key that a request brings; "" if it brings none.
std::string_view KeyOf(const HttpRequest& head) {
  const std::string_view given = head.Header("authorization");
  if (LowerCase(given.substr(0, kBearer.size())) != kBearer) return "";
  return given.substr(kBearer.size());
}

HttpResponse JsonResponse(const Json& json) {
  HttpResponse response;
  response.body = Dump(json);
  return response;
}

}  // namespace

struct ApiHandler::Route {
  const char* path;  // with a '/' at its end: all that lie below it
  const char* method;
  bool needs_key;
  HttpAnswer (ApiHandler::*handle)(const HttpRequest&, const Wake&);
};

const ApiHandler::Route* ApiHandler::FindRoute(const std::string& path) {
  static constexpr Route kRoutes[] = {
      {"/v1/completions", "POST", true, &ApiHandler::Completions},
      {"/v1/chat/completions", "POST", true, &ApiHandler::Chats},
      {"/v1/models", "GET", true, &ApiHandler::Models},
      {"/v1/models/", "GET", true, &ApiHandler::OneModel},
      {"/tokenize", "POST", true, &ApiHandler::Tokenize},
      {"/detokenize", "POST", true, &ApiHandler::Detokenize},
      {"/tokenizer_info", "GET", true, &ApiHandler::TokenizerInfo},
      {"/health", "GET", false, &ApiHandler::Health},
      {"/version", "GET", false, &ApiHandler::Version},
      {"/metrics", "GET", false, &ApiHandler::Metrics},
      {"/engine/state", "GET", true, &ApiHandler::EngineState},
      {"/engine/events", "GET", true, &ApiHandler::EngineEvents},
      {"/engine/backend", "POST", true, &ApiHandler::EngineBackend},
      {"/web/", "GET", false, &ApiHandler::Page},
  };
  static constexpr Route kPage = {"/", "GET", false, &ApiHandler::Page};
  if (path == kPage.path) return &kPage;
  for (const Route& route : kRoutes) {
    const std::string_view pattern = route.path;
    if (path == pattern || (pattern.ends_with('/') && path.starts_with(pattern))) return &route;
  }
  return nullptr;
}

ApiHandler::ApiHandler(ApiOptions options)
    : options_(std::move(options)), places_(options_.max_queued_requests) {
  std::random_device device;
  last_id_ = (static_cast<uint64_t>(device()) << 32) ^ device();
}

void ApiHandler::SetLoading(const std::string& phase, double fraction) {
  const std::lock_guard lock(mutex_);
  loading_ = {phase, fraction};
}

void ApiHandler::SetModel(std::unique_ptr<ServedModel> model) {
  owned_model_ = std::move(model);
  watch_ = std::make_unique<EngineWatch>(&owned_model_->engine(), &metrics_);
  model_ = owned_model_.get();
}

void ApiHandler::CountConnectionsBy(std::function<int64_t()> count) {
  const std::lock_guard lock(mutex_);
  count_connections_ = std::move(count);
}

bool ApiHandler::HasKey(const HttpRequest& head) const {
  if (options_.api_keys.empty()) return true;
  const std::string_view given = KeyOf(head);
  return std::any_of(options_.api_keys.begin(), options_.api_keys.end(),
                     [&](const std::string& key) { return SameSecret(key, given); });
}

// Constraints of answers are compiled with the request. The last three signs are letters in
// disguise, of which the names of such fields may be.
bool ApiHandler::TakesLong(const HttpRequest& request) {
  constexpr std::string_view kSigns[] = {
      "response_format", "guided_", "structured_outputs", "tools", "\\u005", "\\u006", "\\u007"};
  return std::any_of(std::begin(kSigns), std::end(kSigns), [&](std::string_view sign) {
    return request.body.find(sign) != std::string::npos;
  });
}

std::string ApiHandler::AllowedOrigin(const HttpRequest& head) const {
  const std::string_view origin = head.Header("origin");
  for (const std::string& allowed : options_.cors_origins) {
    if (allowed == "*") return allowed;
    if (allowed == origin) return allowed;
  }
  return "";
}

HttpHeaders ApiHandler::Sending(const HttpRequest& head, int status) {
  metrics_.CountAnswer(status);
  HttpHeaders headers;
  if (!options_.cors_origins.empty()) {
    const std::string origin = AllowedOrigin(head);
    if (!origin.empty()) headers.emplace_back("Access-Control-Allow-Origin", origin);
    if (origin != "*") headers.emplace_back("Vary", "Origin");
  }
  if (status == 429 || status == 503) headers.emplace_back("Retry-After", "1");
  return headers;
}

void ApiHandler::Answered(const HttpRequest& head, const AnswerRecord& record) {
  if (!options_.log) return;
  const std::string line = AccessLine(head, record, options_.log_requests);
  if (!line.empty()) options_.log(line);
}

HttpResponse ApiHandler::Refuse(int status, const std::string& message) {
  return ErrorResponse({status, message, "", ""});
}

// Clients' libraries add headers of their own: an origin that is allowed may send what it asks for.
HttpResponse ApiHandler::Preflight(const HttpRequest& head) const {
  HttpResponse response;
  response.status = 204;
  response.content_type.clear();
  if (AllowedOrigin(head).empty()) return response;
  const std::string_view wanted = head.Header("access-control-request-headers");
  response.headers = {
      {"Access-Control-Allow-Methods", "GET, POST, OPTIONS"},
      {"Access-Control-Allow-Headers",
       wanted.empty() ? "Authorization, Content-Type" : std::string(wanted)},
      {"Access-Control-Max-Age", "86400"},
      {"Vary", "Access-Control-Request-Headers"},
  };
  return response;
}

std::optional<HttpResponse> ApiHandler::Screen(const HttpRequest& head) {
  if (head.method == "OPTIONS" && !options_.cors_origins.empty()) return Preflight(head);
  const Route* route = FindRoute(head.path);
  if (route == nullptr) {
    return ErrorResponse({404,
                          "There is nothing at " + head.path +
                              "; try /v1/completions, /v1/chat/completions or /v1/models.",
                          "", "not_found"});
  }
  const bool is_head = head.method == "HEAD" && std::string_view(route->method) == "GET";
  if (head.method != route->method && !is_head) {
    HttpResponse response = ErrorResponse(
        {405, head.path + " is asked with " + route->method + ", not " + head.method + ".", "",
         ""});
    response.headers.emplace_back("Allow", route->method);
    return response;
  }
  if (route->needs_key && !HasKey(head)) {
    HttpResponse response = ErrorResponse(
        {401,
         "The API key is missing or wrong; send the server's key as `Authorization: Bearer KEY`.",
         "", "invalid_api_key"});
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
    return response;
  }
  return std::nullopt;
}

// Keys tell clients apart that cannot pass for one another; without several keys a name that the
// client chose must do, or else its address.
std::string ApiHandler::ClientOf(const HttpRequest& http, const GenerationRequest& request) const {
  if (options_.api_keys.size() > 1) return "key " + std::string(KeyOf(http));
  if (!request.scheduling.user.empty()) return "user " + request.scheduling.user;
  return "address " + http.peer;
}

HttpAnswer ApiHandler::Handle(const HttpRequest& request, Wake wake) {
  const Route* route = FindRoute(request.path);  // Screen() has seen to it that there is one
  return (this->*route->handle)(request, wake);
}

ApiError ApiHandler::NotLoaded() {
  const std::lock_guard lock(mutex_);
  std::string message = "The model is still loading (" + loading_.phase;
  if (loading_.fraction >= 0) {
    message += " " + std::to_string(static_cast<int>(loading_.fraction * 100)) + " %";
  }
  return {503, message + "); try again soon.", "", "loading"};
}

std::string ApiHandler::NewId(const char* prefix) {
  char text[48];
  std::snprintf(text, sizeof(text), "%s%016llx", prefix,
                static_cast<unsigned long long>(++last_id_));
  return text;
}

HttpAnswer ApiHandler::Completions(const HttpRequest& request, const Wake& wake) {
  const ServedModel* model = model_;
  if (model == nullptr) return ErrorResponse(NotLoaded());
  GenerationRequest parsed = model->NewRequest();
  if (const auto error = ParseCompletionRequest(request.body, &parsed))
    return ErrorResponse(*error);
  return Generate(std::move(parsed), request, "cmpl-", wake);
}

HttpAnswer ApiHandler::Chats(const HttpRequest& request, const Wake& wake) {
  const ServedModel* model = model_;
  if (model == nullptr) return ErrorResponse(NotLoaded());
  GenerationRequest parsed = model->NewRequest();
  if (const auto error = ParseChatRequest(request.body, &parsed)) return ErrorResponse(*error);
  return Generate(std::move(parsed), request, "chatcmpl-", wake);
}

HttpAnswer ApiHandler::Generate(GenerationRequest request, const HttpRequest& http,
                                const char* id_prefix, const Wake& wake) {
  const ServedModel* model = model_;
  if (model == nullptr) return ErrorResponse(NotLoaded());
  if (draining_) {
    return ErrorResponse({503, "The server is shutting down and takes no new requests.", "", ""});
  }
  if (const auto error = model->CheckName(request.model)) return ErrorResponse(*error);
  request.client = ClientOf(http, request);
  request.arrival = http.arrival;
  // A chat is not yet the prompt that it becomes.
  const auto prompts = std::max<int64_t>(static_cast<int64_t>(request.prompts.size()), 1);
  const int64_t answers = prompts * request.best_of;
  PlacesTaken places;
  if (const auto error = places_.Take(request.client, answers, &places)) {
    return ErrorResponse(*error);
  }
  if (const auto error = model->Tokenize(&request)) return ErrorResponse(*error);
  const AnswerLimits limits{.max_model_len = model->engine().max_model_len(),
                            .max_logprobs = options_.max_logprobs};
  if (const auto error = LimitAnswers(limits, &request)) return ErrorResponse(*error);
  if (const auto error = model->Constrain(&request)) return ErrorResponse(*error);
  AnswerIdentity identity{request.id.empty() ? NewId(id_prefix) : id_prefix + request.id,
                          model->names().front(), static_cast<int64_t>(std::time(nullptr))};
  if (!request.model.empty()) identity.model = request.model;
  const ExchangeContext context{model, &metrics_, &active_, options_.stream_gap};
  std::unique_ptr<Exchange> exchange;
  if (const auto error = GenerationExchange::Start(context, std::move(request), std::move(identity),
                                                   std::move(places), wake, &exchange)) {
    return ErrorResponse(*error);
  }
  return exchange;
}

HttpAnswer ApiHandler::Models(const HttpRequest& /*request*/, const Wake& /*wake*/) {
  const ServedModel* model = model_;
  if (model == nullptr) return ErrorResponse(NotLoaded());
  Json json = {{"object", "list"}, {"data", Json::array()}};
  for (const std::string& name : model->names()) json["data"].push_back(model->ModelJson(name));
  return JsonResponse(json);
}

HttpAnswer ApiHandler::OneModel(const HttpRequest& request, const Wake& wake) {
  const ServedModel* model = model_;
  if (model == nullptr) return ErrorResponse(NotLoaded());
  const std::string name = request.path.substr(std::string_view("/v1/models/").size());
  if (name.empty()) return Models(request, wake);
  if (const auto error = model->CheckName(name)) return ErrorResponse(*error);
  return JsonResponse(model->ModelJson(name));
}

HttpAnswer ApiHandler::Tokenize(const HttpRequest& request, const Wake& /*wake*/) {
  const ServedModel* model = model_;
  if (model == nullptr) return ErrorResponse(NotLoaded());
  Json object;
  if (const auto error = ParseJsonObject(request.body, &object)) return ErrorResponse(*error);
  FieldReader fields(object);
  const Json* messages = fields.Find("messages");
  std::string text;
  bool add_special_tokens = messages == nullptr;  // a chat template writes them itself
  std::optional<bool> add_generation_prompt;
  bool continue_final_message = false;
  bool return_strings = false;
  std::string name;
  ToolOptions tools;
  fields.Read("model", &name);
  ReadToolOptions(&fields, &tools);
  fields.Read("add_special_tokens", &add_special_tokens);
  fields.Read("add_generation_prompt", &add_generation_prompt);
  fields.Read("continue_final_message", &continue_final_message);
  fields.Read("return_token_strs", &return_strings);
  if (messages == nullptr) {
    if (fields.ok() && fields.Find("prompt") == nullptr) {
      fields.Fail(ApiError::Invalid("prompt", "prompt is missing; give a text, or messages."));
    }
    fields.Read("prompt", &text);
  }
  if (const auto& error = fields.error()) return ErrorResponse(*error);
  if (const auto error = model->CheckName(name)) return ErrorResponse(*error);
  if (messages != nullptr) {
    Json checked;
    if (const auto error = ReadMessages(*messages, &checked)) return ErrorResponse(*error);
    const ChatPrompt chat{checked, tools.tools,
                          add_generation_prompt.value_or(!continue_final_message),
                          continue_final_message};
    if (const auto error = model->RenderChat(chat, &text)) return ErrorResponse(*error);
  }
  const int64_t most_bytes = MostBytes(*model);
  if (static_cast<int64_t>(text.size()) > most_bytes) {
    return ErrorResponse({413,
                          "The text has " + std::to_string(text.size()) + " bytes, and at most " +
                              std::to_string(most_bytes) +
                              " are tokenized at a time; send it in pieces.",
                          messages == nullptr ? "prompt" : "messages", ""});
  }
  std::vector<int32_t> tokens;
  if (const auto error = model->EncodeText(text, add_special_tokens, &tokens)) {
    return ErrorResponse(*error);
  }
  Json json = {{"count", tokens.size()},
               {"max_model_len", model->engine().max_model_len()},
               {"tokens", tokens}};
  json["token_strs"] = nullptr;
  if (return_strings) {
    const TokenNames names(model->tokenizer(), /*as_ids=*/false);
    json["token_strs"] = Json::array();
    for (const int32_t token : tokens) json["token_strs"].push_back(names.Name(token));
  }
  return JsonResponse(json);
}

HttpAnswer ApiHandler::Detokenize(const HttpRequest& request, const Wake& /*wake*/) {
  const ServedModel* model = model_;
  if (model == nullptr) return ErrorResponse(NotLoaded());
  Json object;
  if (const auto error = ParseJsonObject(request.body, &object)) return ErrorResponse(*error);
  FieldReader fields(object);
  std::string name;
  std::vector<int32_t> tokens;
  fields.Read("model", &name);
  fields.Read("tokens", &tokens);
  if (fields.ok() && fields.Find("tokens") == nullptr) {
    fields.Fail(ApiError::Invalid("tokens", "tokens is missing; give a list of token ids."));
  }
  if (const auto& error = fields.error()) return ErrorResponse(*error);
  if (const auto error = model->CheckName(name)) return ErrorResponse(*error);
  if (model->tokenizer() == nullptr) {
    return ErrorResponse(ApiError::Invalid("tokens", "The model directory has no tokenizer.json."));
  }
  const int64_t most_tokens = MostBytes(*model);
  if (static_cast<int64_t>(tokens.size()) > most_tokens) {
    return ErrorResponse({413,
                          "The list has " + std::to_string(tokens.size()) +
                              " tokens, and at most " + std::to_string(most_tokens) +
                              " are turned to text at a time; send it in pieces.",
                          "tokens", ""});
  }
  const int64_t vocabulary = model->tokenizer()->vocab_size();
  for (const int32_t token : tokens) {
    if (token >= 0 && token < vocabulary) continue;
    return ErrorResponse(ApiError::Invalid("tokens", "tokens has the entry " +
                                                         std::to_string(token) +
                                                         ", but the vocabulary has tokens 0 to " +
                                                         std::to_string(vocabulary - 1) + "."));
  }
  const std::string text = model->tokenizer()->Decode(tokens, /*skip_special_tokens=*/false);
  return JsonResponse({{"prompt", text}});
}

HttpAnswer ApiHandler::TokenizerInfo(const HttpRequest& /*request*/, const Wake& /*wake*/) {
  const ServedModel* model = model_;
  if (model == nullptr) return ErrorResponse(NotLoaded());
  if (model->tokenizer() == nullptr) {
    return ErrorResponse({404, "The model directory has no tokenizer.json.", "", "not_found"});
  }
  return JsonResponse(model->TokenizerInfo());
}

HttpAnswer ApiHandler::Health(const HttpRequest& /*request*/, const Wake& /*wake*/) {
  Json json;
  HttpResponse response;
  if (draining_) {
    json["status"] = "draining";
    response.status = 503;
  } else if (model_ != nullptr) {
    const EngineStats stats = model_.load()->engine().stats();
    if (!stats.device_error.empty()) {
      json["status"] = "failed";
      json["error"] = stats.device_error;
      response.status = 503;
    } else if (stats.falling_back) {
      json["status"] = "loading";
      json["phase"] = "the model, on the fallback device";
      json["error"] = stats.lost_device;
      response.status = 503;
    } else if (!stats.lost_device.empty()) {
      json["status"] = "degraded";
      json["error"] = stats.lost_device;
      json["device"] = stats.device;
    } else {
      json["status"] = "ok";
    }
  } else {
    const std::lock_guard lock(mutex_);
    json["status"] = "loading";
    json["phase"] = loading_.phase;
    json["progress"] = loading_.fraction >= 0 ? Json(loading_.fraction) : Json(nullptr);
    response.status = 503;
  }
  response.body = Dump(json);
  return response;
}

HttpAnswer ApiHandler::Version(const HttpRequest& /*request*/, const Wake& /*wake*/) {
  return JsonResponse({{"version", options_.version}});
}

HttpAnswer ApiHandler::Page(const HttpRequest& request, const Wake& /*wake*/) {
  return AnswerWithWebFile(request.path);
}

HttpAnswer ApiHandler::EngineState(const HttpRequest& /*request*/, const Wake& wake) {
  if (model_ == nullptr) return ErrorResponse(NotLoaded());
  return std::make_unique<EngineExchange>(watch_.get(), /*stream=*/false, wake);
}

HttpAnswer ApiHandler::EngineEvents(const HttpRequest& request, const Wake& wake) {
  if (model_ == nullptr) return ErrorResponse(NotLoaded());
  if (request.method == "HEAD") {
    HttpResponse response;
    response.content_type = "text/event-stream; charset=utf-8";
    return response;
  }
  return std::make_unique<EngineExchange>(watch_.get(), /*stream=*/true, wake);
}

HttpAnswer ApiHandler::EngineBackend(const HttpRequest& request, const Wake& /*wake*/) {
  const ServedModel* model = model_;
  if (model == nullptr) return ErrorResponse(NotLoaded());
  // Other sites' pages cannot send this type without being asked first.
  if (!request.Header("content-type").starts_with("application/json")) {
    return ErrorResponse(
        {400, "The backend is chosen with `Content-Type: application/json`.", "", ""});
  }
  Json object;
  if (const auto error = ParseJsonObject(request.body, &object)) return ErrorResponse(*error);
  FieldReader fields(object);
  int32_t kind = 0;
  std::string backend;
  fields.Read("kind", 0, std::numeric_limits<int32_t>::max(), &kind);
  fields.Read("backend", &backend);
  if (fields.ok() && backend.empty()) {
    fields.Fail(ApiError::Invalid("backend", "backend is missing; give a name, or auto."));
  }
  if (const auto& error = fields.error()) return ErrorResponse(*error);
  const Status status = model->engine().UseAttentionBackend(static_cast<size_t>(kind), backend);
  if (!status.ok()) return ErrorResponse(ApiError::Invalid("backend", status.error().message));
  return JsonResponse({{"kind", kind}, {"backend", backend}});
}

HttpAnswer ApiHandler::Metrics(const HttpRequest& /*request*/, const Wake& /*wake*/) {
  const ServedModel* model = model_;
  int64_t connections = 0;
  {
    const std::lock_guard lock(mutex_);
    if (count_connections_) connections = count_connections_();
  }
  const ProcessUsage process = ReadProcessUsage();
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  if (model != nullptr) {
    const EngineStats stats = model->engine().stats();
    response.body = metrics_.Render(model->names().front(), &stats, connections, process);
  } else {
    response.body = metrics_.Render("", nullptr, connections, process);
  }
  return response;
}

}  // namespace tessera
