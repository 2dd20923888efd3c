#include "server/served_model.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "server/protocol/chat_messages.h"

namespace tessera {
namespace {

// Normalization shortens a text to a third of its bytes at most.
constexpr int64_t kMaxShrinking = 4;

// The form of calls that a chat template asks the model for; Hermes if it knows no tools.
CallForm CallFormOf(const Tokenizer& tokenizer) {
  const std::string& text = tokenizer.chat_template();
  const auto mentions = [&](const char* part) { return text.find(part) != std::string::npos; };
  if (mentions("<tool_call>")) return CallForm::kHermes;
  return mentions("tools") && mentions("parameters") ? CallForm::kLlama : CallForm::kHermes;
}

}  // namespace

ServedModel::ServedModel(Engine* engine, std::vector<std::string> names, std::string directory,
                         const GenerationDefaults& defaults)
    : engine_(engine),
      names_(std::move(names)),
      directory_(std::move(directory)),
      created_(static_cast<int64_t>(std::time(nullptr))),
      defaults_(defaults) {
  const Tokenizer* const tokens = tokenizer();
  if (tokens == nullptr) {
    chat_problem_ = "the model directory has no tokenizer.json";
    return;
  }
  for (int64_t id = 0; id < tokens->vocab_size(); ++id) {
    const size_t bytes = tokens->TokenBytes(static_cast<int32_t>(id)).size();
    longest_token_ = std::max(longest_token_, static_cast<int64_t>(bytes));
  }
  constraints_ = std::make_unique<ConstraintCompiler>(*tokens);
  call_form_ = CallFormOf(*tokens);
  if (tokens->chat_template().empty()) {
    chat_problem_ = "this model has no chat template";
    return;
  }
  auto chat = ChatTemplate::Parse(tokens->chat_template());
  if (chat.ok()) {
    chat_ = std::move(chat).value();
  } else {
    chat_problem_ = "the model's chat template cannot be read: " + chat.error().message;
  }
}

GenerationRequest ServedModel::NewRequest() const {
  GenerationRequest request;
  SamplingParams& sampling = request.sampling;
  sampling.temperature = defaults_.temperature.value_or(sampling.temperature);
  sampling.top_p = defaults_.top_p.value_or(sampling.top_p);
  sampling.top_k = defaults_.top_k.value_or(sampling.top_k);
  sampling.min_p = defaults_.min_p.value_or(sampling.min_p);
  sampling.repetition_penalty = defaults_.repetition_penalty.value_or(sampling.repetition_penalty);
  return request;
}

std::optional<ApiError> ServedModel::CheckName(const std::string& name) const {
  if (name.empty() || name == directory_) return std::nullopt;
  if (std::find(names_.begin(), names_.end(), name) != names_.end()) return std::nullopt;
  std::string known;
  for (const std::string& own : names_) known += (known.empty() ? "'" : ", '") + own + "'";
  return ApiError{404, "There is no model '" + name + "' here; this server serves " + known + ".",
                  "model", "model_not_found"};
}

std::optional<ApiError> ServedModel::RequireTokenizer() const {
  if (tokenizer() != nullptr) return std::nullopt;
  return ApiError::Invalid(
      "prompt", "The model directory has no tokenizer.json; send token ids instead of text.");
}

std::optional<ApiError> ServedModel::EncodeText(const std::string& text, bool add_special_tokens,
                                                std::vector<int32_t>* tokens) const {
  if (auto error = RequireTokenizer()) return error;
  *tokens = tokenizer()->Encode(text, add_special_tokens);
  return std::nullopt;
}

std::optional<ApiError> ServedModel::RenderChat(const ChatPrompt& chat, std::string* text) const {
  if (chat_ == nullptr) {
    return ApiError::Invalid("messages", "Chats are not possible: " + chat_problem_ +
                                             "; use /v1/completions with a plain prompt.");
  }
  Json context = chat.template_arguments.is_object() ? chat.template_arguments : Json::object();
  if (chat.continue_final_message) {
    if (auto error = MarkFinalMessage(chat.messages, &context["messages"])) return error;
  } else {
    context["messages"] = chat.messages;
  }
  if (!chat.tools.empty()) context["tools"] = chat.tools;
  context["add_generation_prompt"] = chat.add_generation_prompt;
  context["bos_token"] = tokenizer()->bos_token();
  context["eos_token"] = tokenizer()->eos_token();
  auto rendered = chat_->Render(context);
  if (!rendered.ok()) {
    return ApiError::Invalid("messages", "The model's chat template refuses these messages: " +
                                             rendered.error().message);
  }
  *text = std::move(rendered).value();
  return chat.continue_final_message ? CutAtMark(text) : std::nullopt;
}

std::optional<ApiError> ServedModel::Tokenize(GenerationRequest* request) const {
  bool add_special_tokens = request->add_special_tokens.value_or(true);
  if (request->form == AnswerForm::kChat) {
    Prompt prompt;
    prompt.is_text = true;
    const bool has_tools = request->tools.choice != ToolChoice::kNone;
    const Json no_tools = Json::array();
    const ChatPrompt chat{request->messages, has_tools ? request->tools.tools : no_tools,
                          request->add_generation_prompt, request->continue_final_message,
                          request->template_arguments};
    if (auto error = RenderChat(chat, &prompt.text)) return error;
    request->prompts.clear();
    request->prompts.push_back(std::move(prompt));
    // The template writes them itself.
    add_special_tokens = request->add_special_tokens.value_or(false);
  }
  const int64_t most_bytes = engine_->max_model_len() * longest_token_ * kMaxShrinking;
  for (Prompt& prompt : request->prompts) {
    if (!prompt.is_text) {
      Truncate(*request, &prompt);
      continue;
    }
    // Spares the work of tokenizing what is hopelessly too long, if its end alone is not wanted.
    if (static_cast<int64_t>(prompt.text.size()) > most_bytes && !request->truncate_prompt_tokens) {
      return ApiError::Invalid(request->form == AnswerForm::kChat ? "messages" : "prompt",
                               "The prompt has " + std::to_string(prompt.text.size()) +
                                   " bytes, which are certainly more than the " +
                                   std::to_string(engine_->max_model_len()) +
                                   " tokens that a request may have; shorten it.");
    }
    if (auto error = EncodeText(prompt.text, add_special_tokens, &prompt.tokens)) return error;
    Truncate(*request, &prompt);
  }
  FindSpecialStops(request);
  return EncodeBadWords(request);
}

void ServedModel::Truncate(const GenerationRequest& request, Prompt* prompt) const {
  if (!request.truncate_prompt_tokens) return;
  int64_t kept = *request.truncate_prompt_tokens;
  if (kept < 0) {
    const int64_t answer = request.has_max_tokens ? request.sampling.max_tokens : 1;
    kept = std::max<int64_t>(engine_->max_model_len() - answer, 1);
  }
  const int64_t excess = static_cast<int64_t>(prompt->tokens.size()) - kept;
  if (excess <= 0) return;
  prompt->tokens.erase(prompt->tokens.begin(), prompt->tokens.begin() + excess);
  prompt->is_text = false;  // its text is that of its tokens
}

std::optional<ApiError> ServedModel::EncodeBadWords(GenerationRequest* request) const {
  if (request->bad_words.empty()) return std::nullopt;
  if (tokenizer() == nullptr) {
    return ApiError::Invalid("bad_words",
                             "bad_words needs a tokenizer.json, which the model directory lacks; "
                             "use logit_bias.");
  }
  for (const std::string& word : request->bad_words) {
    const std::string bare = word.substr(word.find_first_not_of(' '));
    std::vector<int32_t> inside = tokenizer()->Encode(bare, /*add_special_tokens=*/false);
    std::vector<int32_t> after_space =
        tokenizer()->Encode(" " + bare, /*add_special_tokens=*/false);
    // If the space is a token of its own, or is no part of a token, the first form is enough.
    const bool differs =
        !inside.empty() && after_space.size() == inside.size() && after_space != inside;
    std::vector<std::vector<int32_t>>& words = request->sampling.bad_words;
    if (differs) words.push_back(std::move(after_space));
    if (!inside.empty()) words.push_back(std::move(inside));
  }
  return std::nullopt;
}

std::optional<ApiError> ServedModel::Constrain(GenerationRequest* request) const {
  const ConstraintSpec calls = ConstraintOf(request->tools, call_form_);
  const bool is_call = calls.kind != ConstraintSpec::Kind::kNone;
  const ConstraintSpec& spec = is_call ? calls : request->constraint;
  if (spec.kind == ConstraintSpec::Kind::kNone) return std::nullopt;
  const std::string field = is_call ? "tools" : spec.field;
  if (constraints_ == nullptr) {
    return ApiError::Invalid(field,
                             "Answers cannot be bound to a form: the model directory has no "
                             "tokenizer.json.");
  }
  auto compiled = constraints_->Compile(spec);
  if (!compiled.ok()) {
    if (compiled.error().code == ErrorCode::kOutOfMemory) {
      return ApiError::FromEngine(compiled.error());
    }
    return ApiError::Invalid(field, compiled.error().message);
  }
  request->grammar = std::move(compiled).value();
  return std::nullopt;
}

void ServedModel::FindSpecialStops(GenerationRequest* request) const {
  if (tokenizer() == nullptr) return;
  for (const std::string& stop : request->sampling.stop) {
    const std::optional<int32_t> id = tokenizer()->TokenId(stop);
    if (id && tokenizer()->IsSpecial(*id)) request->special_stops.emplace_back(*id, stop);
  }
}

Result<std::vector<Request>> ServedModel::EngineRequests(const GenerationRequest& request) const {
  SamplingParams sampling = request.sampling;
  for (const auto& [token, text] : request.special_stops) sampling.stop_token_ids.push_back(token);
  if (request.logprobs || request.best_of > request.n) {
    sampling.logprobs = request.logprobs.value_or(0);
  }
  Request common;
  sampling.speculative_tokens = request.scheduling.speculative_tokens;
  common.priority = request.scheduling.priority;
  common.client = request.client;
  common.arrival = request.arrival;
  if (request.scheduling.timeout > 0) {
    using Clock = std::chrono::steady_clock;
    const std::chrono::duration<double> timeout(request.scheduling.timeout);
    common.deadline = request.arrival + std::chrono::duration_cast<Clock::duration>(timeout);
  }
  if (request.prompt_logprobs || (request.echo && request.logprobs)) {
    sampling.prompt_logprobs = std::max(request.prompt_logprobs.value_or(0),
                                        request.echo ? request.logprobs.value_or(0) : 0);
  }
  TESSERA_ASSIGN_OR_RETURN(common.rules, engine_->MakeRules(sampling));
  ClearLists(&sampling);
  std::vector<Request> requests;
  for (const Prompt& prompt : request.prompts) {
    const int64_t room = engine_->max_model_len() - static_cast<int64_t>(prompt.tokens.size());
    for (int32_t k = 0; k < request.best_of; ++k) {
      Request one = common;
      one.prompt = prompt.tokens;
      one.sampling = sampling;
      one.grammar = request.grammar;
      if (!request.has_max_tokens) {
        one.sampling.max_tokens = static_cast<int32_t>(
            std::clamp<int64_t>(room, 1, std::max(request.sampling.max_tokens, 1)));
      }
      // The answers to one prompt are to differ; the first is as if it were asked for alone.
      if (sampling.seed) one.sampling.seed = *sampling.seed + static_cast<uint64_t>(k);
      requests.push_back(std::move(one));
    }
  }
  return requests;
}

Json ServedModel::ModelJson(const std::string& name) const {
  return {{"id", name},
          {"object", "model"},
          {"created", created_},
          {"owned_by", "tessera"},
          {"root", directory_},
          {"parent", nullptr},
          {"max_model_len", engine_->max_model_len()}};
}

Json ServedModel::TokenizerInfo() const {
  const Tokenizer& tokens = *tokenizer();
  const auto text = [](const std::string& token) {
    return token.empty() ? Json(nullptr) : Json(token);
  };
  const auto id = [](std::optional<int32_t> token) { return token ? Json(*token) : Json(nullptr); };
  return {{"tokenizer_class", "PreTrainedTokenizerFast"},
          {"bos_token", text(tokens.bos_token())},
          {"bos_token_id", id(tokens.bos_id())},
          {"eos_token", text(tokens.eos_token())},
          {"eos_token_id", id(tokens.eos_id())},
          {"pad_token", nullptr},
          {"chat_template", text(tokens.chat_template())},
          {"model_max_length", engine_->max_model_len()},
          {"vocab_size", tokens.vocab_size()}};
}

}  // namespace tessera
