// Answers in OpenAI's forms, whole or as a stream of events.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/request.h"
#include "server/protocol/generation_request.h"
#include "server/protocol/token_names.h"
#include "server/protocol/tool_call_parser.h"

namespace tessera {

// What a client is told about the answer as a whole.
struct AnswerIdentity {
  std::string id;       // "cmpl-..." or "chatcmpl-..."
  std::string model;    // as the client named it
  int64_t created = 0;  // seconds since 1970
};

// One event of a stream of server-sent events. `json` holds no line break.
std::string SseEvent(const std::string& json);
inline constexpr const char* kSseEnd = "data: [DONE]\n\n";

// Of one HTTP request. Engine request p * best_of + k is the k-th for prompt p. Not thread-safe.
class AnswerWriter {
 public:
  // `request` outlives this, its prompts with tokens.
  AnswerWriter(const GenerationRequest& request, const Tokenizer* tokenizer,
               AnswerIdentity identity);

  // The whole answer, from all that each engine request made. Of best_of answers the n with the
  // greatest mean log probability are chosen.
  std::string Whole(const std::vector<RequestUpdate>& results);

  // The events that tell of one engine request's update; "" if it holds nothing to tell.
  std::string Events(size_t index, const RequestUpdate& update);

  // The events at the end of a stream: the counts if they were asked for, and the end mark.
  std::string LastEvents();

 private:
  struct Progress {
    bool begun = false;
    int64_t offset = 0;  // characters of the text so far
    ToolCallParser calls;
  };

  Json Skeleton(bool chunk) const;
  // What the text says: content and calls, as OpenAI has them.
  Json Message(size_t index, const RequestUpdate& result, Progress* progress) const;
  static ParsedAnswer Parse(const RequestUpdate& update, bool ends, Progress* progress);
  std::vector<Json> Deltas(size_t index, const RequestUpdate& update, Progress* progress) const;
  // Sets the choice's finish_reason and, as vLLM has it, stop_reason.
  void TellFinish(const RequestUpdate& update, const Progress& progress, Json* choice) const;
  std::string CallId(size_t index, int32_t call) const;
  // The event of one choice; `rest`: further members of the event, each after a comma.
  std::string ChoiceEvent(const Json& choice, const std::string& rest = "") const;
  // The text that precedes an answer: the prompt with echo.
  std::string EchoText(size_t index) const;
  Json Choice(size_t index, size_t choice, const RequestUpdate& result, Progress* progress);
  Json LogprobsOf(size_t index, const RequestUpdate& update, bool with_prompt,
                  Progress* progress) const;
  Json CompletionLogprobs(size_t index, const RequestUpdate& update, bool with_prompt,
                          Progress* progress) const;
  void AppendToken(const TokenLogprob& entry, bool in_text, int64_t* offset, Json* lists) const;
  Json ChatLogprobs(const RequestUpdate& update) const;
  Json ChatToken(int32_t token, float logprob) const;
  std::vector<size_t> BestOf(const std::vector<RequestUpdate>& results, size_t prompt) const;
  // vLLM's form: of each token a map from ids to log probability, rank and text.
  Json PromptLogprobs(const RequestUpdate& result) const;
  void Count(size_t index, const RequestUpdate& update);
  bool InText(int32_t token) const;
  Json TokenIds(const RequestUpdate& update) const;
  Json Usage() const;
  const Prompt& PromptOf(size_t index) const;

  const GenerationRequest& request_;
  const Tokenizer* const tokenizer_;
  const TokenNames names_;
  const AnswerIdentity identity_;
  const std::string event_start_;   // of every event of a choice, up to the choice
  std::vector<Progress> progress_;  // [engine requests]
  int64_t prompt_tokens_ = 0;       // of all prompts
  int64_t output_tokens_ = 0;       // so far
  int64_t cached_tokens_ = 0;       // of the prompts, each counted once
};

}  // namespace tessera
