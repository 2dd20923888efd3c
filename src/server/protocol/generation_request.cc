#include "server/protocol/generation_request.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include "server/protocol/structured_output.h"

namespace tessera {
namespace {

constexpr int64_t kMax32 = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxStopStrings = 256;
constexpr size_t kMaxStopBytes = 4096;            // of all together: each answer searches for them
constexpr int32_t kDefaultCompletionTokens = 16;  // as OpenAI has it

// Fields that would change the answer and that nothing here computes: refused unless they have the
// value that changes nothing. null always changes nothing.
struct UnservedField {
  const char* name;
  const char* harmless;  // JSON
  const char* instead;
};

constexpr UnservedField kUnserved[] = {
    {"suffix", "\"\"", "leave it out: the models continue a text and insert nothing"},
    {"use_beam_search", "false", "leave it out, or ask for several answers with n"},
    {"include_stop_str_in_output", "false", "leave it out, and add the stop string yourself"},
    {"skip_special_tokens", "true", "leave it out: special tokens are never part of the text"},
    {"bad_words", "[]", "leave it out, or forbid single tokens with logit_bias"},
    {"allowed_token_ids", "[]", "leave it out, or use guided_choice or guided_regex"},
    {"prompt_logprobs", "null", "use echo with logprobs in /v1/completions"},
    {"truncate_prompt_tokens", "null",
     "shorten the prompt, which /tokenize and /detokenize help with"},
    {"prompt_embeds", "null", "send text or token ids"},
    {"logits_processors", "[]", "leave it out, or use logit_bias"},
    {"functions", "[]", "use tools, which came after it"},
    {"audio", "null", "leave it out: answers are text"},
};

constexpr UnservedField kUnservedInChats[] = {
    {"continue_final_message", "false", "leave it out, or send the text to /v1/completions"},
    {"echo", "false", "leave it out, or send the text to /v1/completions"},
    {"chat_template", "null", "leave it out: the model's own is used, with chat_template_kwargs"},
    {"documents", "[]", "leave it out, and write them into a message"},
    {"modalities", "[\"text\"]", "leave it out: answers are text"},
};

void RefuseUnserved(std::span<const UnservedField> unserved, FieldReader* fields) {
  for (const UnservedField& field : unserved) {
    const Json* value = fields->Find(field.name);
    if (value == nullptr || *value == Json::parse(field.harmless)) continue;
    fields->Fail(ApiError::Invalid(
        field.name, std::string(field.name) + " is not supported; " + field.instead + "."));
  }
}

void ReadStop(FieldReader* fields, std::vector<std::string>* stop) {
  const Json* field = fields->Find("stop");
  if (field == nullptr) return;
  const auto fail = [&](const std::string& what) {
    fields->Fail(ApiError::Invalid("stop", "stop must be a string or a list of at most " +
                                               std::to_string(kMaxStopStrings) + " strings, but " +
                                               what + "."));
  };
  const Json entries = field->is_string() ? Json::array({*field}) : *field;
  if (!entries.is_array()) return fail(std::string("is ") + JsonTypeName(*field));
  if (entries.size() > kMaxStopStrings) {
    return fail("has " + std::to_string(entries.size()) + " entries");
  }
  size_t bytes = 0;
  for (const Json& entry : entries) {
    if (!entry.is_string()) return fail(std::string("one entry is ") + JsonTypeName(entry));
    stop->push_back(entry.get<std::string>());
    bytes += stop->back().size();
  }
  if (bytes > kMaxStopBytes) {
    fail("they have " + std::to_string(bytes) + " bytes; give at most " +
         std::to_string(kMaxStopBytes) + " together");
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
    *seed = static_cast<uint64_t>(*number);
  } else {
    fields->Fail(ApiError::Invalid(
        "seed", std::string("seed must be an integer, but is ") + JsonTypeName(*field) + "."));
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
  FieldReader inner(*options);
  inner.Read("include_usage", &request->include_usage);
  if (const auto& error = inner.error()) return fields->Fail(*error);
  if (!request->stream) {
    fields->Fail(ApiError::Invalid("stream_options",
                                   "stream_options needs \"stream\": true; set it, or leave "
                                   "stream_options out."));
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
  fields->Read("stop_token_ids", &sampling.stop_token_ids);
  fields->Read("return_tokens_as_token_ids", &request->tokens_as_ids);
  fields->Read("add_special_tokens", &request->add_special_tokens);
  fields->Read("n", 1, kMaxAnswers, &request->n);
  ReadSeed(fields, &sampling.seed);
  ReadStop(fields, &sampling.stop);
  ReadLogitBias(fields, &sampling.logit_bias);
  ReadStream(fields, request);
  ReadScheduling(fields, &request->scheduling);
  RefuseUnserved(kUnserved, fields);
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

std::string IndexedName(size_t index) { return "messages[" + std::to_string(index) + "]"; }

// A message's content: a string, or a list of {"type": "text", "text"}.
std::optional<ApiError> ReadContent(const Json& content, const std::string& name,
                                    std::string* text) {
  if (content.is_null()) return std::nullopt;
  if (content.is_string()) {
    *text = content.get<std::string>();
    return std::nullopt;
  }
  if (!content.is_array()) {
    return ApiError::Invalid("messages", name +
                                             ".content must be a string or a list of parts, "
                                             "but is " +
                                             JsonTypeName(content) + ".");
  }
  for (const Json& part : content) {
    const Json type = part.is_object() ? part.value("type", Json()) : Json();
    if (type != "text" || !part.contains("text") || !part["text"].is_string()) {
      return ApiError::Invalid("messages", name +
                                               ".content has a part that is no {\"type\": "
                                               "\"text\", \"text\": \"...\"}; this server "
                                               "reads text only.");
    }
    if (&part != &content.front()) *text += '\n';
    *text += part["text"].get<std::string>();
  }
  return std::nullopt;
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
  fields->Read("add_generation_prompt", &request->add_generation_prompt);
  request->template_arguments = Json::object();
  if (const Json* arguments = fields->Find("chat_template_kwargs")) {
    if (!arguments->is_object()) {
      return fields->Fail(ApiError::Invalid(
          "chat_template_kwargs", std::string("chat_template_kwargs must be an object, but is ") +
                                      JsonTypeName(*arguments) + "."));
    }
    request->template_arguments = *arguments;
  }
}

}  // namespace

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
  fields.Read("logprobs", 0, kMaxLogprobs, &request->logprobs);
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
  RefuseUnserved(kUnservedInChats, &fields);
  ReadTemplateFields(&fields, request);
  ReadToolOptions(&fields, &request->tools);
  CheckCallsAndForm(&fields, *request);
  ReadMaxTokens(&fields, "max_tokens", 1, request);
  ReadMaxTokens(&fields, "max_completion_tokens", 1, request);
  request->best_of = request->n;
  bool logprobs = false;
  std::optional<int32_t> top;
  fields.Read("logprobs", &logprobs);
  fields.Read("top_logprobs", 0, kMaxLogprobs, &top);
  if (logprobs) request->logprobs = top.value_or(0);
  if (top.value_or(0) > 0 && !logprobs) {
    fields.Fail(ApiError::Invalid(
        "top_logprobs",
        "top_logprobs needs \"logprobs\": true; set it, or leave top_logprobs out."));
  }
  return fields.error();
}

std::optional<ApiError> ReadMessages(const Json& messages, Json* result) {
  if (!messages.is_array() || messages.empty()) {
    const std::string what = messages.is_null()    ? "is missing"
                             : messages.is_array() ? "is empty"
                                                   : std::string("is ") + JsonTypeName(messages);
    return ApiError::Invalid(
        "messages", "messages must be a list of {\"role\", \"content\"}, but " + what + ".");
  }
  *result = messages;
  for (size_t i = 0; i < result->size(); ++i) {
    Json& message = (*result)[i];
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string() ||
        message["role"] == "") {
      return ApiError::Invalid("messages", IndexedName(i) +
                                               " must be an object with a role, as {\"role\": "
                                               "\"user\", \"content\": \"...\"}.");
    }
    if (message.contains("name") && !message["name"].is_string() && !message["name"].is_null()) {
      return ApiError::Invalid("messages", IndexedName(i) + ".name must be a string, but is " +
                                               JsonTypeName(message["name"]) + ".");
    }
    std::string text;
    const Json content = message.value("content", Json());
    if (auto error = ReadContent(content, IndexedName(i), &text)) return error;
    message["content"] = std::move(text);
    if (auto error = ReadToolCalls(IndexedName(i), &message)) return error;
  }
  return std::nullopt;
}

}  // namespace tessera
