// Reads any bytes as the body of a completion (first byte even) or a chat.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/protocol/answer_limits.h"
#include "server/protocol/answer_writer.h"
#include "server/protocol/chat_messages.h"
#include "server/protocol/generation_request.h"
#include "tessera/result.h"

namespace {

// Whatever was asked for can be answered.
void Answer(const tessera::GenerationRequest& request) {
  tessera::AnswerWriter writer(request, nullptr, {"id", request.model, 0});
  tessera::RequestUpdate update;
  update.text = "text";
  update.tokens = {1};
  update.logprobs = {{1, -1.0f, 1, {{2, -0.5f}}}};
  const std::string events = writer.Events(0, update) + writer.LastEvents();
  TESSERA_CHECK(events.ends_with(tessera::kSseEnd));
  const size_t answers = request.prompts.size() * static_cast<size_t>(request.best_of);
  if (answers > 64) return;
  const auto whole =
      tessera::Json::parse(writer.Whole(std::vector<tessera::RequestUpdate>(answers, update)));
  TESSERA_CHECK(whole["choices"].size() == request.prompts.size() * static_cast<size_t>(request.n));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  tessera::GenerationRequest request;
  const bool chat = (data[0] & 1) != 0;
  const auto error = chat ? tessera::ParseChatRequest(body, &request)
                          : tessera::ParseCompletionRequest(body, &request);
  if (error) {
    TESSERA_CHECK(error->status == 400 && !error->message.empty());
    const auto json = tessera::Json::parse(tessera::ErrorJson(*error));
    TESSERA_CHECK(json["error"]["message"].is_string());
    return 0;
  }
  if (chat) {
    TESSERA_CHECK(request.messages.is_array() && !request.messages.empty());
    tessera::Json marked;
    if (!tessera::MarkFinalMessage(request.messages, &marked)) {
      std::string prompt = marked.back()["content"].get<std::string>() + "rest";
      TESSERA_CHECK(!tessera::CutAtMark(&prompt));
      TESSERA_CHECK(prompt == request.messages.back()["content"].get<std::string>());
    }
    request.prompts.assign(1, {});  // as the chat template makes one of them
  }
  TESSERA_CHECK(request.n >= 1 && request.best_of >= request.n && request.sampling.max_tokens >= 1);
  TESSERA_CHECK(!request.prompts.empty());
  Answer(request);
  if (!tessera::LimitAnswers({.max_model_len = 2048}, &request)) {
    TESSERA_CHECK(request.sampling.max_tokens >= 1);
  }
  return 0;
}
