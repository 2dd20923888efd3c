#include "server/generation.h"

#include <chrono>
#include <iterator>
#include <mutex>
#include <utility>

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

template <typename T>
void AppendTo(const std::vector<T>& from, std::vector<T>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

// Adds a later update to those that nobody has looked at yet. If memory runs out on the way, the
// request does not look ended: the end comes last.
void Merge(const RequestUpdate& later, RequestUpdate* update) {
  update->id = later.id;
  update->text += later.text;
  AppendTo(later.tokens, &update->tokens);
  AppendTo(later.logprobs, &update->logprobs);
  AppendTo(later.prompt_logprobs, &update->prompt_logprobs);
  update->stop_string = later.stop_string;
  update->error = later.error;
  update->stop_token = later.stop_token;
  update->prompt_tokens = later.prompt_tokens;
  update->output_tokens = later.output_tokens;
  update->cached_tokens = later.cached_tokens;
  update->started = later.started;
  update->error_code = later.error_code;
  update->finish = later.finish;
}

}  // namespace

struct Generation::Shared {
  struct Slot {
    RequestUpdate update;
    bool fresh = false;  // `update` holds something new
    int64_t prompt_tokens = 0;
    bool has_token = false;
    bool has_place = true;  // in the queue
    Clock::time_point last_token;
  };

  ServerMetrics* metrics = nullptr;
  Clock::time_point arrival;
  WakeOptions options;
  Clock::time_point last_signal;

  std::mutex mutex;
  PlacesTaken places;
  std::function<void()> wake;  // null once nobody listens
  std::vector<Slot> slots;     // [requests]
  size_t remaining = 0;        // requests that have not ended
  bool failed = false;         // one has ended with an error
  bool signalled = false;      // since the last Take()

  bool ready() const { return options.stream || remaining == 0 || failed; }

  // Whether the listener need not hear of an update at once: the next one brings it along.
  bool MayWait(const RequestUpdate& update, bool first, Clock::time_point now) const {
    return options.stream && !first && update.finish == FinishReason::kNone && options.gap &&
           now - last_signal < options.gap();
  }

  // What may throw std::bad_alloc comes first: the update counts as not received then.
  void Receive(size_t index, const RequestUpdate& update) {
    const std::lock_guard lock(mutex);
    Slot& slot = slots[index];
    const Clock::time_point now = Clock::now();
    const bool first = !slot.has_token;
    if (wake != nullptr) Merge(update, &slot.update);
    Count(update, now, &slot);
    if (wake == nullptr) return;
    slot.fresh = true;
    if (update.finish != FinishReason::kNone) --remaining;
    if (update.finish == FinishReason::kError) failed = true;
    if (!ready() || signalled || MayWait(update, first, now)) return;
    signalled = true;
    last_signal = now;
    wake();  // a connection's does not throw
  }

  void Count(const RequestUpdate& update, Clock::time_point now, Slot* slot) {
    const bool has_begun = !update.tokens.empty() || update.finish != FinishReason::kNone;
    if (has_begun && std::exchange(slot->has_place, false)) places.GiveBack(1);
    if (!update.tokens.empty()) {
      if (slot->has_token) {
        // Tokens that come together, as accepted guesses do, share the time.
        const size_t count = update.tokens.size();
        const double each = Seconds(now - slot->last_token) / static_cast<double>(count);
        for (size_t i = 0; i < count; ++i) metrics->CountTokenInterval(each);
      } else {
        metrics->CountFirstToken(slot->prompt_tokens, Seconds(now - arrival));
      }
      slot->has_token = true;
      slot->last_token = now;
      metrics->CountTokens(static_cast<int64_t>(update.tokens.size()));
    }
    if (update.finish != FinishReason::kNone) {
      metrics->CountEnd({.reason = update.finish,
                         .prompt_tokens = slot->prompt_tokens,
                         .output_tokens = update.output_tokens,
                         .seconds = Seconds(now - arrival),
                         .queue_seconds = Seconds(update.started.value_or(now) - arrival)});
    }
  }
};

Generation::Generation(Engine* engine, std::shared_ptr<Shared> shared)
    : engine_(engine), shared_(std::move(shared)) {}

Result<std::unique_ptr<Generation>> Generation::Start(Engine* engine, ServerMetrics* metrics,
                                                      std::vector<Request> requests,
                                                      WakeOptions options, PlacesTaken places,
                                                      std::function<void()> wake) {
  for (const Request& request : requests) TESSERA_RETURN_IF_ERROR(engine->Check(request));
  auto shared = std::make_shared<Shared>();
  shared->metrics = metrics;
  shared->options = std::move(options);
  shared->places = std::move(places);
  shared->wake = std::move(wake);
  shared->arrival = requests.front().arrival.value_or(Clock::now());
  shared->slots.resize(requests.size());
  shared->remaining = requests.size();
  for (size_t i = 0; i < requests.size(); ++i) {
    shared->slots[i].prompt_tokens = static_cast<int64_t>(requests[i].prompt.size());
  }
  std::unique_ptr<Generation> generation(new Generation(engine, shared));
  for (size_t i = 0; i < requests.size(); ++i) {
    TESSERA_ASSIGN_OR_RETURN(
        const uint64_t id,
        engine->Submit(std::move(requests[i]),
                       [shared, i](const RequestUpdate& update) { shared->Receive(i, update); }));
    generation->ids_.push_back(id);
  }
  return generation;
}

Generation::~Generation() {
  std::vector<uint64_t> unfinished;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->wake = nullptr;
    for (size_t i = 0; i < ids_.size(); ++i) {
      if (shared_->slots[i].update.finish == FinishReason::kNone) unfinished.push_back(ids_[i]);
    }
  }
  for (const uint64_t id : unfinished) engine_->Cancel(id);
}

std::vector<GenerationUpdate> Generation::Take() {
  std::vector<GenerationUpdate> updates;
  const std::lock_guard lock(shared_->mutex);
  shared_->signalled = false;
  if (!shared_->ready()) return updates;
  for (size_t i = 0; i < shared_->slots.size(); ++i) {
    Shared::Slot& slot = shared_->slots[i];
    if (!slot.fresh) continue;
    slot.fresh = false;
    const FinishReason finish = slot.update.finish;
    updates.push_back({i, std::exchange(slot.update, RequestUpdate())});
    slot.update.finish = finish;  // remembered: an ended request needs no cancellation
  }
  return updates;
}

}  // namespace tessera
