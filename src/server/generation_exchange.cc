#include "server/generation_exchange.h"

#include <algorithm>
#include <utility>

namespace tessera {
namespace {

constexpr int64_t kManyExchanges = 64;

// Whether any update tells of an answer that has begun.
bool HasBegun(const std::vector<GenerationUpdate>& updates) {
  return std::any_of(updates.begin(), updates.end(), [](const GenerationUpdate& entry) {
    const FinishReason finish = entry.update.finish;
    return !entry.update.tokens.empty() || finish == FinishReason::kStop ||
           finish == FinishReason::kLength;
  });
}

ApiError ShuttingDown() {
  return {503, "The server is shutting down; the answer is not complete.", "", ""};
}

ApiError FailureOf(const RequestUpdate& update) {
  if (update.finish == FinishReason::kError) {
    return ApiError::FromEngine({update.error_code, update.error});
  }
  if (update.finish == FinishReason::kTimeout) return {504, update.error, "", "timeout"};
  return ShuttingDown();
}

// Chats have no field `prompt`: theirs is made from the messages.
ApiError RefusalOf(const Error& error, AnswerForm form) {
  ApiError refusal = ApiError::FromEngine(error);
  if (form == AnswerForm::kChat && refusal.param == "prompt") refusal.param = "messages";
  return refusal;
}

}  // namespace

GenerationExchange::GenerationExchange(const ExchangeContext& context, GenerationRequest request,
                                       AnswerIdentity identity)
    : active_(context.active),
      request_(std::move(request)),
      writer_(request_, context.model->tokenizer(), std::move(identity)) {
  ++*active_;
}

GenerationExchange::~GenerationExchange() {
  generation_.reset();
  --*active_;
}

std::optional<ApiError> GenerationExchange::Start(const ExchangeContext& context,
                                                  GenerationRequest request,
                                                  AnswerIdentity identity, PlacesTaken places,
                                                  std::function<void()> wake,
                                                  std::unique_ptr<Exchange>* exchange) {
  auto made = context.model->EngineRequests(request);
  if (!made.ok()) return RefusalOf(made.error(), request.form);
  std::vector<Request> requests = std::move(made).value();
  ForgetSources(&request);
  std::unique_ptr<GenerationExchange> created(
      new GenerationExchange(context, std::move(request), std::move(identity)));
  created->remaining_ = requests.size();
  // Each event costs a system call here and one at the client: with many streams that is felt.
  WakeOptions options;
  options.stream = created->request_.stream;
  options.gap = [active = context.active, gap = context.stream_gap] {
    return active->load(std::memory_order_relaxed) > kManyExchanges ? gap : decltype(gap)(0);
  };
  auto generation =
      Generation::Start(&context.model->engine(), context.metrics, std::move(requests),
                        std::move(options), std::move(places), std::move(wake));
  if (!generation.ok()) return RefusalOf(generation.error(), created->request_.form);
  created->generation_ = std::move(generation).value();
  *exchange = std::move(created);
  return std::nullopt;
}

Exchange::Output GenerationExchange::Poll() { return request_.stream ? PollStream() : PollWhole(); }

bool GenerationExchange::IsFailure(const RequestUpdate& update) const {
  return update.finish == FinishReason::kError || update.finish == FinishReason::kCancelled ||
         (update.finish == FinishReason::kTimeout && !has_begun_);
}

Exchange::Output GenerationExchange::PollWhole() {
  Output output;
  std::vector<GenerationUpdate> updates = generation_->Take();
  if (updates.empty()) return output;
  output.end = true;
  std::vector<RequestUpdate> results;
  has_begun_ = HasBegun(updates);
  for (GenerationUpdate& entry : updates) {
    Note(entry.update);
    if (IsFailure(entry.update)) {
      output.head = ErrorResponse(FailureOf(entry.update));
      return output;
    }
    results.push_back(std::move(entry.update));
  }
  output.head.emplace();
  output.head->body = writer_.Whole(results);
  return output;
}

Exchange::Output GenerationExchange::PollStream() {
  Output output;
  if (!has_head_) {
    has_head_ = true;
    output.head = EventStreamHead();
  }
  TakeEvents(&output);
  return output;
}

Exchange::Output GenerationExchange::Cut() {
  Output output;
  output.end = true;
  const ApiError error = ShuttingDown();
  if (has_head_) {
    NoteFailure(error);
    output.data = SseEvent(ErrorJson(error)) + kSseEnd;
  } else {
    output.head = ErrorResponse(error);
  }
  return output;
}

void GenerationExchange::Note(const RequestUpdate& update) {
  notes_.prompt_tokens = std::max<int64_t>(notes_.prompt_tokens, update.prompt_tokens);
  if (update.finish != FinishReason::kNone) notes_.output_tokens += update.output_tokens;
}

void GenerationExchange::NoteFailure(const ApiError& error) {
  notes_.error_status = error.status;
  notes_.error = error.message;
}

void GenerationExchange::TakeEvents(Output* output) {
  const std::vector<GenerationUpdate> updates = generation_->Take();
  has_begun_ = has_begun_ || HasBegun(updates);
  for (const GenerationUpdate& entry : updates) {
    Note(entry.update);
    if (IsFailure(entry.update)) {
      const ApiError error = FailureOf(entry.update);
      NoteFailure(error);
      output->data += SseEvent(ErrorJson(error)) + kSseEnd;
      output->end = true;
      return;
    }
    output->data += writer_.Events(entry.index, entry.update);
    if (entry.update.finish != FinishReason::kNone) --remaining_;
  }
  if (remaining_ == 0) {
    output->data += writer_.LastEvents();
    output->end = true;
  }
}

}  // namespace tessera
