// What clients ask for: the bodies of /v1/completions and /v1/chat/completions.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/request.h"
#include "grammar/constraint_spec.h"
#include "server/protocol/json.h"
#include "server/protocol/scheduling_fields.h"
#include "server/protocol/tool_options.h"

namespace tessera {

struct Prompt {
  bool is_text = false;
  std::string text;
  std::vector<int32_t> tokens;  // if it is no text; filled in later if it is
};

enum class AnswerForm : uint8_t { kCompletion, kChat };

struct GenerationRequest {
  AnswerForm form = AnswerForm::kCompletion;
  std::string model;            // "": whatever is served
  std::vector<Prompt> prompts;  // of completions: at least one
  Json messages;                // of chats: a list of {"role", "content": text, ...}
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // the answer continues with the last message
  Json template_arguments;              // object; further variables of the chat template
  ToolOptions tools;                    // of chats

  // What the answers have to be. Calls that tools ask for are not in it: see ConstraintOf.
  ConstraintSpec constraint;
  std::shared_ptr<TokenGrammar> grammar;  // either of them, compiled; null: anything

  int32_t n = 1;
  int32_t best_of = 1;              // at least n; the n best are answered
  bool echo = false;                // the text begins with the prompt
  bool generates = true;            // false with max_tokens 0: only the prompt is scored
  std::optional<int32_t> logprobs;  // alternatives for each token; 0: the tokens' own only
  bool tokens_as_ids = false;       // tokens are named "token_id:N" in log probabilities
  // Whether a text gets the tokens that the tokenizer puts around texts (BOS); none: completions
  // do, chats do not, as their template writes them.
  std::optional<bool> add_special_tokens;
  // The prompt's last tokens that are kept, all if none; -1: as many as leave room for the answer.
  std::optional<int32_t> truncate_prompt_tokens;
  std::optional<int32_t> prompt_logprobs;  // alternatives for each token of the prompt
  bool return_token_ids = false;           // of prompt and answer
  std::vector<std::string> bad_words;      // that do not occur in the answer
  // Stop strings that are special tokens, which end the answer by their numbers.
  std::vector<std::pair<int32_t, std::string>> special_stops;
  std::string id;  // what the client calls it; "": anything
  bool stream = false;
  bool include_usage = false;     // a last chunk of the stream with the counts
  bool continuous_usage = false;  // the counts so far in the others
  bool has_max_tokens = false;    // otherwise max_tokens is for the server to say
  SamplingParams sampling;        // of one answer; logprobs are set as wanted
  SchedulingFields scheduling;
  std::chrono::steady_clock::time_point arrival = std::chrono::steady_clock::now();
  std::string client;  // who asks, as far as the server knows: shares with all others
};

// How many answers one request may ask for, over all its prompts.
constexpr int64_t kMaxAnswers = 4096;

// Fields that are not known are ignored; those that are known and cannot be served are refused.
// Ranges that depend on the model are checked later, by the engine. What a body does not say stays
// as it is in `request`, which is usable if nothing is returned.
std::optional<ApiError> ParseCompletionRequest(std::string_view body, GenerationRequest* request);
std::optional<ApiError> ParseChatRequest(std::string_view body, GenerationRequest* request);

// Lets go of what prompts, constraint and rules were made from: of all that may be long, only what
// the answer needs is left.
void ForgetSources(GenerationRequest* request);

}  // namespace tessera
