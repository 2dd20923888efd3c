// The model as its clients see it: names, prompts to tokens, engine requests.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/constraint_compiler.h"
#include "server/protocol/generation_request.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"

namespace tessera {

// What the text of a chat's prompt is made from.
struct ChatPrompt {
  const Json& messages;  // as ReadMessages gives them
  const Json& tools;     // a list; an empty one is as none
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  Json template_arguments = Json::object();
};

// Immutable, thread-safe.
class ServedModel {
 public:
  // `names` is not empty: the first one is what clients are told. `engine` outlives this. A chat
  // template that cannot be read is an error of the chats alone. Requests that do not say how
  // tokens are chosen get `defaults`.
  ServedModel(Engine* engine, std::vector<std::string> names, std::string directory,
              const GenerationDefaults& defaults = {});

  Engine& engine() const { return *engine_; }
  const Tokenizer* tokenizer() const { return engine_->tokenizer(); }
  const std::vector<std::string>& names() const { return names_; }
  int64_t created() const { return created_; }  // seconds since 1970

  // A request that says nothing yet.
  GenerationRequest NewRequest() const;

  // Whether a client may call the model so.
  std::optional<ApiError> CheckName(const std::string& name) const;

  // Gives every prompt its tokens, chats their prompt, and bad words theirs. Finds the stop strings
  // that are special tokens.
  std::optional<ApiError> Tokenize(GenerationRequest* request) const;

  // Compiles what the request's answers have to be, if anything.
  std::optional<ApiError> Constrain(GenerationRequest* request) const;

  // The engine's requests for a request with tokens: best_of for each prompt. They share what may
  // be long.
  Result<std::vector<Request>> EngineRequests(const GenerationRequest& request) const;

  std::optional<ApiError> EncodeText(const std::string& text, bool add_special_tokens,
                                     std::vector<int32_t>* tokens) const;
  std::optional<ApiError> RenderChat(const ChatPrompt& chat, std::string* text) const;

  Json ModelJson(const std::string& name) const;
  Json TokenizerInfo() const;

 private:
  std::optional<ApiError> RequireTokenizer() const;
  // Keeps the prompt's last tokens, as many as the request says.
  void Truncate(const GenerationRequest& request, Prompt* prompt) const;
  // The tokens of the words that must not occur, as they are in the middle of a text and after a
  // space.
  std::optional<ApiError> EncodeBadWords(GenerationRequest* request) const;
  // The end tokens that clients may write as stop strings, as "<|im_end|>".
  void FindSpecialStops(GenerationRequest* request) const;

  Engine* const engine_;
  const std::vector<std::string> names_;
  const std::string directory_;
  const int64_t created_;
  const GenerationDefaults defaults_;
  int64_t longest_token_ = 1;  // bytes
  std::unique_ptr<ChatTemplate> chat_;
  std::string chat_problem_;                         // why there is no template
  std::unique_ptr<ConstraintCompiler> constraints_;  // null without a tokenizer
  CallForm call_form_ = CallForm::kHermes;           // that the chat template teaches
};

}  // namespace tessera
