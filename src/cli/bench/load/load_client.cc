#include "cli/bench/load/load_client.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <utility>

namespace tessera {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using SystemError = boost::system::error_code;

constexpr std::string_view kEventEnd = "\n\n";
constexpr int64_t kDefaultVocabulary = 1000;  // if the server does not tell

// HTTP/1.0: the answer's end is the connection's, and streams come without framing.
std::string RequestText(const LoadTarget& target, const std::string& method,
                        const std::string& path, const std::string& body) {
  std::string text = method + " " + path + " HTTP/1.0\r\nHost: " + target.host + "\r\n";
  if (!target.api_key.empty()) text += "Authorization: Bearer " + target.api_key + "\r\n";
  if (!body.empty()) {
    text +=
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  }
  return text + "\r\n" + body;
}

int StatusOf(std::string_view head) {
  const size_t space = head.find(' ');
  return space == std::string_view::npos ? 0 : std::atoi(std::string(head.substr(space)).c_str());
}

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Reads one stream piece by piece.
class StreamReader {
 public:
  StreamReader(Clock::time_point start, LoadResult* result) : start_(start), result_(result) {}

  void Append(std::string_view bytes) {
    buffer_.append(bytes);
    if (result_->status == 0) {
      const size_t end = buffer_.find("\r\n\r\n");
      if (end == std::string::npos) return;
      result_->status = StatusOf(buffer_);
      buffer_.erase(0, end + 4);
    }
    size_t begin = 0;
    size_t end = 0;
    while ((end = buffer_.find(kEventEnd, begin)) != std::string::npos) {
      ReadEvent(std::string_view(buffer_).substr(begin, end - begin));
      begin = end + kEventEnd.size();
    }
    buffer_.erase(0, begin);
  }

 private:
  void ReadEvent(std::string_view event) {
    if (event == "data: [DONE]") {
      result_->complete = result_->status == 200 && has_usage_;
      return;
    }
    if (event.find("\"choices\":[]") != std::string_view::npos) return ReadUsage(event);
    const double now = SecondsSince(start_);
    if (has_first_) {
      result_->intervals.push_back(now - result_->last_token);
    } else {
      result_->first_token = now;
      has_first_ = true;
    }
    result_->last_token = now;
  }

  void ReadUsage(std::string_view event) {
    const Json json = Json::parse(event.substr(event.find('{')), nullptr, false);
    if (!json.is_object() || !json.contains("usage") || !json["usage"].is_object()) return;
    result_->prompt_tokens = json["usage"].value("prompt_tokens", int64_t{0});
    result_->output_tokens = json["usage"].value("completion_tokens", int64_t{0});
    has_usage_ = true;
  }

  const Clock::time_point start_;
  LoadResult* const result_;
  std::string buffer_;
  bool has_first_ = false;
  bool has_usage_ = false;
};

class LoadRun {
 public:
  LoadRun(const LoadTarget& target, const LoadOptions& options,
          const std::vector<PlannedRequest>& requests, const std::function<void(int64_t)>& on_done)
      : target_(target),
        options_(options),
        requests_(requests),
        on_done_(on_done),
        results_(requests.size()) {}

  Result<LoadReport> Run() {
    SystemError error;
    endpoints_ = tcp::resolver(context_).resolve(target_.host, target_.port, error);
    if (error) {
      return IoError("cannot find " + target_.host + ": " + error.message() + "; check --url");
    }
    const auto on_end = [this](const std::exception_ptr& thrown) {
      if (thrown) thrown_ = thrown;
    };
    const size_t clients =
        options_.rate > 0 ? requests_.size()
                          : std::min(requests_.size(), static_cast<size_t>(options_.concurrency));
    for (size_t i = 0; i < clients; ++i) {
      if (options_.rate > 0) {
        asio::co_spawn(context_, AskWhenDue(i), on_end);
      } else {
        asio::co_spawn(context_, AskOneByOne(), on_end);
      }
    }
    context_.run();
    if (thrown_) std::rethrow_exception(thrown_);
    LoadReport report;
    report.results = std::move(results_);
    report.seconds = SecondsSince(start_);
    return report;
  }

 private:
  asio::awaitable<void> AskOneByOne() {
    while (next_ < requests_.size()) {
      const size_t index = next_++;
      co_await Ask(index, Clock::now());
    }
  }

  asio::awaitable<void> AskWhenDue(size_t index) {
    const Clock::time_point due =
        start_ + std::chrono::duration_cast<Clock::duration>(
                     std::chrono::duration<double>(requests_[index].start_seconds));
    asio::steady_timer timer(context_, due);
    SystemError ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    co_await Ask(index, due);
  }

  asio::awaitable<void> Ask(size_t index, Clock::time_point start) {
    StreamReader reader(start, &results_[index]);
    tcp::socket socket(context_);
    SystemError error;
    co_await asio::async_connect(socket, endpoints_,
                                 asio::redirect_error(asio::use_awaitable, error));
    const std::string request = RequestText(target_, "POST", "/v1/completions",
                                            RequestBody(requests_[index], target_.model));
    if (!error) {
      co_await asio::async_write(socket, asio::buffer(request),
                                 asio::redirect_error(asio::use_awaitable, error));
    }
    std::string bytes(16384, '\0');
    while (!error) {
      const size_t count = co_await socket.async_read_some(
          asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, error));
      reader.Append(std::string_view(bytes).substr(0, count));
    }
    on_done_(++done_);
  }

  const LoadTarget& target_;
  const LoadOptions& options_;
  const std::vector<PlannedRequest>& requests_;
  const std::function<void(int64_t)>& on_done_;
  asio::io_context context_{1};
  tcp::resolver::results_type endpoints_;
  std::vector<LoadResult> results_;
  size_t next_ = 0;
  int64_t done_ = 0;
  std::exception_ptr thrown_;
  const Clock::time_point start_ = Clock::now();
};

// One answer that is no stream. An empty body if anything goes wrong.
Result<Json> Get(const LoadTarget& target, const std::string& path) {
  asio::io_context context;
  tcp::socket socket(context);
  SystemError error;
  const auto endpoints = tcp::resolver(context).resolve(target.host, target.port, error);
  if (!error) asio::connect(socket, endpoints, error);
  if (!error) asio::write(socket, asio::buffer(RequestText(target, "GET", path, "")), error);
  if (error) {
    return IoError("cannot reach a server at " + target.host + " port " + target.port + ": " +
                   error.message() + "; start one with `tessera serve`, or check --url");
  }
  std::string text;
  asio::read(socket, asio::dynamic_buffer(text), error);  // to the end of the connection
  const size_t head = text.find("\r\n\r\n");
  Json json;
  if (head != std::string::npos) json = Json::parse(text.substr(head + 4), nullptr, false);
  if (StatusOf(text) != 200 || !json.is_object()) {
    return IoError("the server does not answer " + path + " as expected (status " +
                   std::to_string(StatusOf(text)) + "); is it ready, and the key right?");
  }
  return json;
}

}  // namespace

Result<LoadTarget> ParseTarget(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  LoadTarget target;
  std::string rest = url;
  if (rest.starts_with(kScheme)) rest.erase(0, kScheme.size());
  rest = rest.substr(0, rest.find('/'));
  const size_t colon = rest.rfind(':');
  target.host = rest.substr(0, colon);
  if (colon != std::string::npos) target.port = rest.substr(colon + 1);
  if (target.host.empty() || target.port.empty() || url.find("https://") == 0) {
    return InvalidArgument("'" + url + "' is no address; give --url as http://HOST:PORT");
  }
  return target;
}

Status AskTarget(LoadTarget* target) {
  TESSERA_ASSIGN_OR_RETURN(const Json models, Get(*target, "/v1/models"));
  const Json data = models.value("data", Json::array());
  if (!data.is_array() || data.empty() || !data[0].is_object()) {
    return IoError("the server names no model at /v1/models");
  }
  if (target->model.empty()) target->model = data[0].value("id", "");
  if (target->max_model_len == 0) target->max_model_len = data[0].value("max_model_len", 2048);
  if (target->vocab_size == 0) {
    const auto tokenizer = Get(*target, "/tokenizer_info");
    target->vocab_size =
        tokenizer.ok() ? tokenizer->value("vocab_size", kDefaultVocabulary) : kDefaultVocabulary;
  }
  return {};
}

Result<LoadReport> RunLoad(const LoadTarget& target, const LoadOptions& options,
                           const std::vector<PlannedRequest>& requests,
                           const std::function<void(int64_t)>& on_done) {
  return LoadRun(target, options, requests, on_done).Run();
}

}  // namespace tessera
