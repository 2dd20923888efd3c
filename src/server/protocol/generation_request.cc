#include "server/protocol/generation_request.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>
#include <utility>

#include "server/protocol/chat_messages.h"
#include "server/protocol/structured_output.h"
#include "server/protocol/unserved_fields.h"

namespace tessera {
namespace {

constexpr int64_t kMax32 = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxStrings = 256;               // of stop, and of bad_words
constexpr size_t kMaxStringBytes = 4096;          // of all of them together
constexpr int32_t kDefaultCompletionTokens = 16;  // as OpenAI has it

// A list of strings, or if `single` one of them alone.
void ReadStrings(FieldReader* fields, const char* name, bool single,
                 std::vector<std::string>* strings) {
  const Json* field = fields->Find(name);
  if (field == nullptr) return;
  const auto fail = [&](const std::string& what) {
    fields->Fail(ApiError::Invalid(name, std::string(name) + " must be " +
                                             (single ? "a string or " : "") + "a list of at most " +
                                             std::to_string(kMaxStrings) + " strings, but " + what +
                                             "."));
  };
  const Json entries = single && field->is_string() ? Json::array({*field}) : *field;
  if (!entries.is_array()) return fail(std::string("is ") + JsonTypeName(*field));
  if (entries.size() > kMaxStrings)
    return fail("has " + std::to_string(entries.size()) + " entries");
  size_t bytes = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].is_string()) {
      return fail("its entry " + std::to_string(i) + " is " + JsonTypeName(entries[i]));
    }
    strings->push_back(entries[i].get<std::string>());
    bytes += strings->back().size();
  }
  if (bytes > kMaxStringBytes) {
    fail("they have " + std::to_string(bytes) + " bytes; give at most " +
         std::to_string(kMaxStringBytes) + " together");
  }
}

// Each token once: the list is as long as the vocabulary at most, or holds what the engine refuses.
void ReadTokenSet(FieldReader* fields, const char* name, std::vector<int32_t>* tokens) {
  fields->Read(name, tokens);
  std::sort(tokens->begin(), tokens->end());
  tokens->erase(std::unique(tokens->begin(), tokens->end()), tokens->end());
  tokens->shrink_to_fit();
}

// vLLM's fields that restrict the tokens of the answer.
void ReadTokenRules(FieldReader* fields, GenerationRequest* request) {
  ReadTokenSet(fields, "allowed_token_ids", &request->sampling.allowed_token_ids);
  if (fields->Find("allowed_token_ids") != nullptr && request->sampling.allowed_token_ids.empty()) {
    fields->Fail(ApiError::Invalid("allowed_token_ids",
                                   "allowed_token_ids is empty, which allows nothing; name some "
                                   "tokens, or leave it out."));
  }
  ReadStrings(fields, "bad_words", /*single=*/false, &request->bad_words);
  for (const std::string& word : request->bad_words) {
    if (word.find_first_not_of(' ') != std::string::npos) continue;
    fields->Fail(ApiError::Invalid("bad_words", "bad_words holds an empty word; leave it out."));
  }
}

void ReadLogitBias(FieldReader* fields, std::vector<std::pair<int32_t, float>>* bias) {
  const Json* field = fields->Find("logit_bias");
  if (field == nullptr) return;
  const auto fail = [&](const std::string& what) {
    fields->Fail(ApiError::Invalid(
        "logit_bias",
        "logit_bias must map token ids to numbers in -100 to 100, as {\"50\": -100}, but " + what +
            "."));
  };
  if (!field->is_object()) return fail(std::string("is ") + JsonTypeName(*field));
  for (const auto& [key, value] : field->items()) {
    int32_t token = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (error != std::errc() || end != key.data() + key.size()) {
      return fail("one key is no token id");
    }
    if (!value.is_number()) return fail("the value of " + key + " is " + JsonTypeName(value));
    const double number = value.get<double>();
    if (!(number >= -100 && number <= 100)) return fail("the value of " + key + " is not");
    bias->emplace_back(token, static_cast<float>(number));
  }
}

void ReadSeed(FieldReader* fields, std::optional<uint64_t>* seed) {
  const Json* field = fields->Find("seed");
  if (field == nullptr) return;
  if (field->is_number_unsigned()) {
    *seed = field->get<uint64_t>();
  } else if (const std::optional<int64_t> number = IntegerOf(*field)) {
    if (*number == -1) return;  // any, as vLLM has it
    *seed = static_cast<uint64_t>(*number);
  } else {
    fields->Fail(ApiError::Invalid(
        "seed", std::string("seed must be an integer of at most 64 bits, but is ") +
                    (field->is_number() ? Dump(*field) : JsonTypeName(*field)) + "."));
  }
}

void ReadStream(FieldReader* fields, GenerationRequest* request) {
  fields->Read("stream", &request->stream);
  const Json* options = fields->Find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object()) {
    return fields->Fail(ApiError::Invalid(
        "stream_options",
        std::string("stream_options must be an object, but is ") + JsonTypeName(*options) + "."));
  }
  FieldReader inner(*options, "stream_options.");
  inner.Read("include_usage", &request->include_usage);
  inner.Read("continuous_usage_stats", &request->continuous_usage);
  if (const auto& error = inner.error()) return fields->Fail(*error);
  if (!request->stream) {
    fields->Fail(ApiError::Invalid("stream_options",
                                   "stream_options needs \"stream\": true; set it, or leave "
                                   "stream_options out."));
  }
}

void CheckPromptFields(FieldReader* fields, const GenerationRequest& request) {
  constexpr size_t kMaxIdBytes = 128;
  if (request.stream && request.prompt_logprobs) {
    fields->Fail(ApiError::Invalid(
        "prompt_logprobs",
        "prompt_logprobs cannot be given with \"stream\": true; leave one of them out."));
  }
  if (request.truncate_prompt_tokens == 0) {
    fields->Fail(ApiError::Invalid("truncate_prompt_tokens",
                                   "truncate_prompt_tokens is 0, which leaves no prompt; give at "
                                   "least 1, or -1 for as many as leave room for the answer."));
  }
  if (request.id.size() > kMaxIdBytes) {
    fields->Fail(ApiError::Invalid(
        "request_id", "request_id must have at most " + std::to_string(kMaxIdBytes) + " bytes."));
  }
}

// What both forms have in common.
void ReadCommon(FieldReader* fields, GenerationRequest* request) {
  SamplingParams& sampling = request->sampling;
  fields->Read("model", &request->model);
  fields->Read("temperature", &sampling.temperature);
  fields->Read("top_p", &sampling.top_p);
  fields->Read("top_k", -1, kMax32, &sampling.top_k);
  fields->Read("min_p", &sampling.min_p);
  fields->Read("repetition_penalty", &sampling.repetition_penalty);
  fields->Read("presence_penalty", &sampling.presence_penalty);
  fields->Read("frequency_penalty", &sampling.frequency_penalty);
  fields->Read("min_tokens", 0, kMax32, &sampling.min_tokens);
  fields->Read("ignore_eos", &sampling.ignore_eos);
  ReadTokenSet(fields, "stop_token_ids", &sampling.stop_token_ids);
  fields->Read("return_tokens_as_token_ids", &request->tokens_as_ids);
  fields->Read("return_token_ids", &request->return_token_ids);
  fields->Read("add_special_tokens", &request->add_special_tokens);
  fields->Read("include_stop_str_in_output", &sampling.include_stop_str_in_output);
  fields->Read("skip_special_tokens", &sampling.skip_special_tokens);
  // Only tokenizers of another kind than tokenizer.json put spaces there.
  bool spaces_between_special_tokens = true;
  fields->Read("spaces_between_special_tokens", &spaces_between_special_tokens);
  fields->Read("request_id", &request->id);
  fields->Read("prompt_logprobs", 0, kMax32, &request->prompt_logprobs);
  fields->Read("truncate_prompt_tokens", -1, kMax32, &request->truncate_prompt_tokens);
  fields->Read("n", 1, kMaxAnswers, &request->n);
  ReadSeed(fields, &sampling.seed);
  ReadStrings(fields, "stop", /*single=*/true, &sampling.stop);
  ReadTokenRules(fields, request);
  ReadLogitBias(fields, &sampling.logit_bias);
  ReadStream(fields, request);
  CheckPromptFields(fields, *request);
  ReadScheduling(fields, &request->scheduling);
  RefuseUnserved(fields);
  ReadStructuredOutput(fields, &request->constraint);
}

void ReadMaxTokens(FieldReader* fields, const char* name, int64_t least,
                   GenerationRequest* request) {
  std::optional<int32_t> found;
  fields->Read(name, least, kMax32, &found);
  if (!found) return;
  request->has_max_tokens = true;
  request->generates = *found > 0;
  request->sampling.max_tokens = std::max(*found, 1);
}

void ReadPrompts(FieldReader* fields, std::vector<Prompt>* prompts) {
  const auto fail = [&](const std::string& what) {
    fields->Fail(ApiError::Invalid(
        "prompt",
        "prompt must be a string, a list of strings, a list of token ids, or a list of lists of "
        "token ids, but " +
            what + "."));
  };
  if (!fields->ok()) return;
  const Json* field = fields->Find("prompt");
  if (field == nullptr) return fail("is missing");
  if (field->is_string()) {
    prompts->push_back({true, field->get<std::string>(), {}});
    return;
  }
  if (!field->is_array()) return fail(std::string("is ") + JsonTypeName(*field));
  if (field->empty()) return fail("is an empty list");
  if (field->front().is_number()) {
    std::optional<std::vector<int32_t>> tokens = TokensOf(*field);
    if (!tokens) return fail("is a list with something else in it");
    prompts->push_back({false, "", std::move(*tokens)});
    return;
  }
  if (static_cast<int64_t>(field->size()) > kMaxAnswers) {
    return fail("has " + std::to_string(field->size()) + " entries; send at most " +
                std::to_string(kMaxAnswers) + " at a time");
  }
  for (const Json& entry : *field) {
    if (entry.is_string() && field->front().is_string()) {
      prompts->push_back({true, entry.get<std::string>(), {}});
      continue;
    }
    std::optional<std::vector<int32_t>> tokens = TokensOf(entry);
    if (!tokens || !field->front().is_array()) return fail("is a list with something else in it");
    prompts->push_back({false, "", std::move(*tokens)});
  }
}

void CheckCompletion(FieldReader* fields, const GenerationRequest& request) {
  const auto fail = [fields](const char* name, const std::string& message) {
    fields->Fail(ApiError::Invalid(name, message));
  };
  if (request.best_of < request.n) {
    fail("best_of", "best_of is " + std::to_string(request.best_of) + ", but must be at least n, " +
                        std::to_string(request.n) + ".");
  }
  if (request.best_of > request.n && request.stream) {
    fail("best_of",
         "best_of cannot be more than n with stream: the best answers are known at the "
         "end only; leave one of them out.");
  }
  if (static_cast<int64_t>(request.prompts.size()) * request.best_of > kMaxAnswers) {
    fail("n", "The request asks for more than " + std::to_string(kMaxAnswers) +
                  " answers; send fewer prompts at a time, or lower n and best_of.");
  }
  if (!request.generates && !request.echo) {
    fail("max_tokens",
         "max_tokens is 0, which asks for nothing; give at least 1, or set echo to have the "
         "prompt scored.");
  }
}

void CheckCallsAndForm(FieldReader* fields, const GenerationRequest& request) {
  const bool calls =
      request.tools.choice == ToolChoice::kRequired || request.tools.choice == ToolChoice::kNamed;
  if (!calls || request.constraint.kind == ConstraintSpec::Kind::kNone) return;
  fields->Fail(ApiError::Invalid(
      "tool_choice",
      "tool_choice asks for a call, while another field binds the answer to a form of its own; "
      "give one of them, or use \"tool_choice\": \"auto\"."));
}

void ReadTemplateFields(FieldReader* fields, GenerationRequest* request) {
  std::optional<bool> add_generation_prompt;
  fields->Read("add_generation_prompt", &add_generation_prompt);
  fields->Read("continue_final_message", &request->continue_final_message);
  if (request->continue_final_message && add_generation_prompt.value_or(false)) {
    fields->Fail(ApiError::Invalid(
        "continue_final_message",
        "continue_final_message and add_generation_prompt cannot both be true: a message is either "
        "continued or begun."));
  }
  request->add_generation_prompt = add_generation_prompt.value_or(!request->continue_final_message);
  request->template_arguments = Json::object();
  if (const Json* arguments = fields->Find("chat_template_kwargs")) {
    if (!arguments->is_object()) {
      return fields->Fail(ApiError::Invalid(
          "chat_template_kwargs", std::string("chat_template_kwargs must be an object, but is ") +
                                      JsonTypeName(*arguments) + "."));
    }
    request->template_arguments = *arguments;
  }
  // Templates that know efforts of reasoning find theirs there.
  std::string effort;
  fields->Read("reasoning_effort", &effort);
  if (!effort.empty()) request->template_arguments["reasoning_effort"] = effort;
}

}  // namespace

void ForgetSources(GenerationRequest* request) {
  request->messages = Json();
  request->template_arguments = Json();
  request->tools.tools = Json();
  for (CallableFunction& function : request->tools.functions) function.parameters = nullptr;
  request->constraint = ConstraintSpec();
  request->grammar = nullptr;
  request->bad_words = std::vector<std::string>();
  ClearLists(&request->sampling);
  if (request->echo) return;
  for (Prompt& prompt : request->prompts) std::string().swap(prompt.text);
}

std::optional<ApiError> ParseCompletionRequest(std::string_view body, GenerationRequest* request) {
  Json object;
  if (auto error = ParseJsonObject(body, &object)) return error;
  request->form = AnswerForm::kCompletion;
  FieldReader fields(object);
  ReadPrompts(&fields, &request->prompts);
  ReadCommon(&fields, request);
  request->sampling.max_tokens = kDefaultCompletionTokens;
  ReadMaxTokens(&fields, "max_tokens", 0, request);
  request->has_max_tokens = true;
  request->best_of = request->n;
  fields.Read("best_of", 1, kMaxAnswers, &request->best_of);
  fields.Read("echo", &request->echo);
  fields.Read("logprobs", 0, kMax32, &request->logprobs);
  if (fields.ok()) CheckCompletion(&fields, *request);
  return fields.error();
}

std::optional<ApiError> ParseChatRequest(std::string_view body, GenerationRequest* request) {
  Json object;
  if (auto error = ParseJsonObject(body, &object)) return error;
  request->form = AnswerForm::kChat;
  FieldReader fields(object);
  const Json* messages = fields.Find("messages");
  if (auto error = ReadMessages(messages == nullptr ? Json() : *messages, &request->messages)) {
    return error;
  }
  ReadCommon(&fields, request);
  RefuseUnservedInChats(&fields);
  ReadTemplateFields(&fields, request);
  ReadToolOptions(&fields, &request->tools);
  CheckCallsAndForm(&fields, *request);
  ReadMaxTokens(&fields, "max_tokens", 1, request);
  ReadMaxTokens(&fields, "max_completion_tokens", 1, request);
  request->best_of = request->n;
  bool logprobs = false;
  std::optional<int32_t> top;
  fields.Read("logprobs", &logprobs);
  fields.Read("top_logprobs", 0, kMax32, &top);
  if (logprobs) request->logprobs = top.value_or(0);
  if (top.value_or(0) > 0 && !logprobs) {
    fields.Fail(ApiError::Invalid(
        "top_logprobs",
        "top_logprobs needs \"logprobs\": true; set it, or leave top_logprobs out."));
  }
  return fields.error();
}

}  // namespace tessera
