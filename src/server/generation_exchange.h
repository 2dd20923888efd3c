// The answer to one completion or chat request, while the engine works on it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "server/generation.h"
#include "server/http/http_message.h"
#include "server/protocol/answer_writer.h"
#include "server/served_model.h"

namespace tessera {

// What exchanges work with; all of it outlives them.
struct ExchangeContext {
  const ServedModel* model = nullptr;
  ServerMetrics* metrics = nullptr;
  std::atomic<int64_t>* active = nullptr;  // counts exchanges while they live
  // The least time between two events of a stream while there are many exchanges.
  std::chrono::milliseconds stream_gap{0};
};

class GenerationExchange : public Exchange {
 public:
  // Submits the request, which has its tokens; what the engine refuses comes back as the error.
  // `places` are the answers' in the queue, given back as they begin.
  static std::optional<ApiError> Start(const ExchangeContext& context, GenerationRequest request,
                                       AnswerIdentity identity, PlacesTaken places,
                                       std::function<void()> wake,
                                       std::unique_ptr<Exchange>* exchange);
  ~GenerationExchange() override;

  Output Poll() override;
  Output Cut() override;
  AnswerNotes Notes() const override { return notes_; }

 private:
  GenerationExchange(const ExchangeContext& context, GenerationRequest request,
                     AnswerIdentity identity);

  // An answer whose time is over tells so by its finish_reason, once any has begun.
  bool IsFailure(const RequestUpdate& update) const;
  Output PollStream();
  void TakeEvents(Output* output);  // its data and its end
  Output PollWhole();
  // What the end of one of the engine's requests, or a failure, means for the log.
  void Note(const RequestUpdate& update);
  void NoteFailure(const ApiError& error);

  std::atomic<int64_t>* const active_;
  const GenerationRequest request_;
  AnswerWriter writer_;  // refers to request_
  std::unique_ptr<Generation> generation_;
  size_t remaining_ = 0;  // engine requests whose end was not reported yet
  bool has_head_ = false;
  bool has_begun_ = false;  // any answer has
  AnswerNotes notes_;
};

}  // namespace tessera
