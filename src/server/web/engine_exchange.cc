#include "server/web/engine_exchange.h"

#include <memory>
#include <utility>

namespace tessera {
namespace {

// An engine at rest is shown again after this time: the client sees that the stream is alive.
constexpr auto kLongestSilence = std::chrono::seconds(5);

}  // namespace

EngineExchange::EngineExchange(EngineWatch* watch, bool stream, std::function<void()> wake)
    : watch_(watch), stream_(stream), watcher_(watch->Add(std::move(wake))), seen_(watch->Now()) {}

EngineExchange::~EngineExchange() { watch_->Remove(watcher_); }

Exchange::Output EngineExchange::Poll() {
  Output output;
  if (stream_ && !has_head_) {
    has_head_ = true;
    output.head = EventStreamHead();
  }
  const std::shared_ptr<const EngineWatch::Picture> picture = watch_->After(seen_);
  if (picture == nullptr) return output;
  seen_ = picture->serial;
  if (!stream_) {
    output.head.emplace();
    output.head->headers.emplace_back("Cache-Control", "no-store");
    output.head->body = picture->json;
    output.end = true;
    return output;
  }
  const auto now = std::chrono::steady_clock::now();
  if (picture->content == content_ && now - sent_ < kLongestSilence) return output;
  content_ = picture->content;
  sent_ = now;
  output.data = "data: " + picture->json + "\n\n";
  return output;
}

}  // namespace tessera
