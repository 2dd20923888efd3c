#include "server/protocol/answer_writer.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <string_view>
#include <utility>

namespace tessera {
namespace {

double MeanLogprob(const RequestUpdate& result) {
  double sum = 0;
  for (const TokenLogprob& entry : result.logprobs) sum += PrintableLogprob(entry.logprob);
  return result.logprobs.empty() ? 0 : sum / static_cast<double>(result.logprobs.size());
}

// What follows the choices if there is nothing else.
constexpr std::string_view kEventEnd = "]}";

std::string WithoutEnd(std::string text, std::string_view end) {
  text.resize(text.size() - end.size());
  return text;
}

}  // namespace

std::string SseEvent(const std::string& json) { return "data: " + json + "\n\n"; }

AnswerWriter::AnswerWriter(const GenerationRequest& request, const Tokenizer* tokenizer,
                           AnswerIdentity identity)
    : request_(request),
      tokenizer_(tokenizer),
      names_(tokenizer, request.tokens_as_ids),
      identity_(std::move(identity)),
      event_start_(WithoutEnd(Dump(Skeleton(/*chunk=*/true)), kEventEnd)),
      progress_(request.prompts.size() * static_cast<size_t>(request.best_of),
                Progress{false, 0, ToolCallParser(request.tools)}) {
  for (const Prompt& prompt : request.prompts) {
    prompt_tokens_ += static_cast<int64_t>(prompt.tokens.size());
  }
}

const Prompt& AnswerWriter::PromptOf(size_t index) const {
  return request_.prompts[index / static_cast<size_t>(request_.best_of)];
}

Json AnswerWriter::Skeleton(bool chunk) const {
  const bool chat = request_.form == AnswerForm::kChat;
  Json json;
  json["id"] = identity_.id;
  json["object"] = chat ? (chunk ? "chat.completion.chunk" : "chat.completion") : "text_completion";
  json["created"] = identity_.created;
  json["model"] = identity_.model;
  json["choices"] = Json::array();
  return json;
}

std::string AnswerWriter::ChoiceEvent(const Json& choice, const std::string& rest) const {
  // The counts come with the last event; if they do, the others say so, or tell them so far.
  std::string usage;
  if (request_.include_usage) {
    usage = ",\"usage\":" + (request_.continuous_usage ? Dump(Usage()) : "null");
  }
  return SseEvent(event_start_ + Dump(choice) + "]" + rest + usage + "}");
}

std::string AnswerWriter::EchoText(size_t index) const {
  if (!request_.echo) return "";
  const Prompt& prompt = PromptOf(index);
  if (prompt.is_text || tokenizer_ == nullptr) return prompt.text;
  return tokenizer_->Decode(prompt.tokens, /*skip_special_tokens=*/false);
}

std::string AnswerWriter::Whole(const std::vector<RequestUpdate>& results) {
  for (size_t i = 0; i < results.size(); ++i) Count(i, results[i]);
  Json rest;
  rest["usage"] = Usage();
  if (request_.form == AnswerForm::kChat) {
    if (request_.prompt_logprobs) rest["prompt_logprobs"] = PromptLogprobs(results.front());
    if (request_.return_token_ids) rest["prompt_token_ids"] = request_.prompts.front().tokens;
  }
  // Choices become text one by one: as values, log probabilities take ten times the memory.
  std::string text = WithoutEnd(Dump(Skeleton(/*chunk=*/false)), kEventEnd);
  size_t choice = 0;
  for (size_t prompt = 0; prompt < request_.prompts.size(); ++prompt) {
    for (const size_t index : BestOf(results, prompt)) {
      if (choice > 0) text += ',';
      text += Dump(Choice(index, choice++, results[index], &progress_[index]));
    }
  }
  return text.append("],").append(Dump(rest).substr(1));
}

std::vector<size_t> AnswerWriter::BestOf(const std::vector<RequestUpdate>& results,
                                         size_t prompt) const {
  const size_t best_of = static_cast<size_t>(request_.best_of);
  std::vector<size_t> indices(best_of);
  std::iota(indices.begin(), indices.end(), prompt * best_of);
  if (request_.best_of > request_.n) {
    std::stable_sort(indices.begin(), indices.end(), [&](size_t a, size_t b) {
      return MeanLogprob(results[a]) > MeanLogprob(results[b]);
    });
  }
  indices.resize(static_cast<size_t>(request_.n));
  return indices;
}

Json AnswerWriter::Choice(size_t index, size_t choice, const RequestUpdate& result,
                          Progress* progress) {
  Json json;
  json["index"] = choice;
  if (request_.form == AnswerForm::kChat) {
    json["message"] = Message(index, result, progress);
  } else {
    json["text"] = EchoText(index) + (request_.generates ? result.text : "");
  }
  json["logprobs"] = LogprobsOf(index, result, /*with_prompt=*/request_.echo, progress);
  TellFinish(result, *progress, &json);
  if (request_.form == AnswerForm::kCompletion) {
    if (request_.prompt_logprobs) json["prompt_logprobs"] = PromptLogprobs(result);
    if (request_.return_token_ids) json["prompt_token_ids"] = PromptOf(index).tokens;
  }
  if (request_.return_token_ids) json["token_ids"] = TokenIds(result);
  return json;
}

std::string AnswerWriter::CallId(size_t index, int32_t call) const {
  const size_t dash = identity_.id.rfind('-');
  return "call_" + identity_.id.substr(dash == std::string::npos ? 0 : dash + 1) + "_" +
         std::to_string(index) + "_" + std::to_string(call);
}

void AnswerWriter::TellFinish(const RequestUpdate& update, const Progress& progress,
                              Json* choice) const {
  Json& finish = (*choice)["finish_reason"];
  if (update.finish == FinishReason::kNone) return;
  const bool calls = update.finish == FinishReason::kStop && progress.calls.has_calls();
  finish = calls ? "tool_calls" : ToString(update.finish);
  Json& reason = (*choice)["stop_reason"];
  if (!update.stop_string.empty()) {
    reason = update.stop_string;
  } else if (update.stop_token) {
    reason = *update.stop_token;
    for (const auto& [token, text] : request_.special_stops) {
      if (token == *update.stop_token) reason = text;
    }
  }
}

Json AnswerWriter::Message(size_t index, const RequestUpdate& result, Progress* progress) const {
  const ParsedAnswer answer = Parse(result, /*ends=*/true, progress);
  Json message = {{"role", "assistant"}, {"content", answer.content}};
  if (answer.calls.empty()) return message;
  if (answer.content.empty()) message["content"] = nullptr;
  std::vector<std::string> arguments;
  for (const ToolCallPart& part : answer.calls) {
    if (part.begins) {
      message["tool_calls"].push_back({{"id", CallId(index, part.index)},
                                       {"type", "function"},
                                       {"function", {{"name", part.name}, {"arguments", ""}}}});
      arguments.emplace_back();
    }
    arguments.back() += part.arguments;
  }
  for (size_t i = 0; i < arguments.size(); ++i) {
    message["tool_calls"][i]["function"]["arguments"] = std::move(arguments[i]);
  }
  return message;
}

ParsedAnswer AnswerWriter::Parse(const RequestUpdate& update, bool ends, Progress* progress) {
  ParsedAnswer answer = progress->calls.Append(update.text);
  if (!ends) return answer;
  ParsedAnswer rest = progress->calls.Finish();
  answer.content += rest.content;
  std::move(rest.calls.begin(), rest.calls.end(), std::back_inserter(answer.calls));
  return answer;
}

// Each tells of one part of one call at most, which is what all clients understand.
std::vector<Json> AnswerWriter::Deltas(size_t index, const RequestUpdate& update,
                                       Progress* progress) const {
  ParsedAnswer answer = Parse(update, update.finish != FinishReason::kNone, progress);
  std::vector<Json> deltas;
  if (!answer.content.empty()) deltas.push_back({{"content", std::move(answer.content)}});
  for (ToolCallPart& call : answer.calls) {
    Json part = {{"index", call.index}};
    if (call.begins) {
      part["id"] = CallId(index, call.index);
      part["type"] = "function";
      part["function"]["name"] = std::move(call.name);
    }
    part["function"]["arguments"] = std::move(call.arguments);
    Json delta;
    delta["tool_calls"].push_back(std::move(part));
    deltas.push_back(std::move(delta));
  }
  return deltas;
}

std::string AnswerWriter::Events(size_t index, const RequestUpdate& update) {
  Progress& progress = progress_[index];
  Count(index, update);
  std::string events;
  const bool first = !std::exchange(progress.begun, true);
  if (first && request_.form == AnswerForm::kChat) {
    Json choice = {{"index", index}};
    choice["delta"] = {{"role", "assistant"}, {"content", ""}};
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = nullptr;
    const bool tells_prompt = request_.return_token_ids;
    events = ChoiceEvent(
        choice, tells_prompt ? ",\"prompt_token_ids\":" + Dump(PromptOf(index).tokens) : "");
  }
  // Tokens whose text is still uncertain are sent with the text, unless their log probabilities
  // or numbers are to be sent anyway.
  const bool echoes = first && request_.echo;
  const bool tells_tokens = request_.logprobs || request_.return_token_ids;
  if (update.text.empty() && update.finish == FinishReason::kNone && !echoes &&
      !(tells_tokens && !update.tokens.empty())) {
    return events;
  }
  Json choice = {{"index", index}};
  if (request_.form == AnswerForm::kChat) {
    std::vector<Json> deltas = Deltas(index, update, &progress);
    // The text may be held back as part of what may be a call.
    if (deltas.empty() && update.finish == FinishReason::kNone && !tells_tokens) return events;
    if (deltas.empty()) deltas.push_back(Json::object());
    // Whatever else there is to tell comes with the last one.
    Json early = {{"index", index}, {"delta", nullptr}, {"logprobs", nullptr}};
    early["finish_reason"] = nullptr;
    for (size_t i = 0; i + 1 < deltas.size(); ++i) {
      early["delta"] = std::move(deltas[i]);
      events += ChoiceEvent(early);
    }
    choice["delta"] = std::move(deltas.back());
  } else {
    choice["text"] =
        (echoes ? EchoText(index) : "") + (request_.generates ? update.text : std::string());
  }
  choice["logprobs"] = LogprobsOf(index, update, echoes, &progress);
  TellFinish(update, progress, &choice);
  if (request_.return_token_ids) {
    const bool is_chat = request_.form == AnswerForm::kChat;
    if (first && !is_chat) choice["prompt_token_ids"] = PromptOf(index).tokens;
    choice["token_ids"] = TokenIds(update);
  }
  return events + ChoiceEvent(choice);
}

std::string AnswerWriter::LastEvents() {
  std::string events;
  if (request_.include_usage) {
    Json json = Skeleton(/*chunk=*/true);
    json["usage"] = Usage();
    events = SseEvent(Dump(json));
  }
  return events + kSseEnd;
}

Json AnswerWriter::TokenIds(const RequestUpdate& update) const {
  return request_.generates ? Json(update.tokens) : Json::array();
}

void AnswerWriter::Count(size_t index, const RequestUpdate& update) {
  // The first answer tells what was there before the request.
  if (index % static_cast<size_t>(request_.best_of) == 0) cached_tokens_ += update.cached_tokens;
  if (request_.generates) output_tokens_ += static_cast<int64_t>(update.tokens.size());
}

Json AnswerWriter::Usage() const {
  return {{"prompt_tokens", prompt_tokens_},
          {"completion_tokens", output_tokens_},
          {"total_tokens", prompt_tokens_ + output_tokens_},
          {"prompt_tokens_details", {{"cached_tokens", cached_tokens_}}}};
}

Json AnswerWriter::LogprobsOf(size_t index, const RequestUpdate& update, bool with_prompt,
                              Progress* progress) const {
  if (!request_.logprobs) return nullptr;
  if (request_.form == AnswerForm::kChat) return ChatLogprobs(update);
  return CompletionLogprobs(index, update, with_prompt, progress);
}

// Four lists with an entry for each token: of the prompt if it is echoed, then of the answer.
// An end token is in the lists although it is not in the text.
Json AnswerWriter::CompletionLogprobs(size_t index, const RequestUpdate& update, bool with_prompt,
                                      Progress* progress) const {
  Json lists;
  for (const char* name : {"tokens", "token_logprobs", "top_logprobs", "text_offset"}) {
    lists[name] = Json::array();
  }
  if (with_prompt) {
    const Prompt& prompt = PromptOf(index);
    for (size_t i = 0; i < prompt.tokens.size(); ++i) {
      // Special tokens that were put in front of a text are no part of it.
      const int32_t token = prompt.tokens[i];
      const bool in_text = !prompt.is_text || !names_.IsSpecial(token);
      if (i > 0 && i < update.prompt_logprobs.size()) {
        AppendToken(update.prompt_logprobs[i], in_text, &progress->offset, &lists);
        continue;
      }
      lists["tokens"].push_back(names_.Name(token));
      lists["token_logprobs"].push_back(nullptr);  // nothing predicts the first token
      lists["top_logprobs"].push_back(nullptr);
      lists["text_offset"].push_back(progress->offset);
      if (in_text) progress->offset += names_.NumCharacters(token);
    }
  }
  if (!request_.generates) return lists;
  for (const TokenLogprob& entry : update.logprobs) {
    AppendToken(entry, InText(entry.token), &progress->offset, &lists);
  }
  return lists;
}

void AnswerWriter::AppendToken(const TokenLogprob& entry, bool in_text, int64_t* offset,
                               Json* lists) const {
  const double own = PrintableLogprob(entry.logprob);
  const std::string name = names_.Name(entry.token);
  Json top = Json::object();
  // The token itself is always among them. Of two tokens with one name the likelier one counts.
  top[name] = own;
  const auto wanted = static_cast<size_t>(request_.logprobs.value_or(0));
  for (size_t i = 0; i < std::min(wanted, entry.top.size()); ++i) {
    const auto& [token, logprob] = entry.top[i];
    if (token == entry.token) continue;
    Json& slot = top[names_.Name(token)];
    const double value = PrintableLogprob(logprob);
    if (slot.is_null() || slot.get<double>() < value) slot = value;
  }
  (*lists)["tokens"].push_back(name);
  (*lists)["token_logprobs"].push_back(own);
  (*lists)["top_logprobs"].push_back(std::move(top));
  (*lists)["text_offset"].push_back(*offset);
  if (in_text) *offset += names_.NumCharacters(entry.token);
}

bool AnswerWriter::InText(int32_t token) const {
  return !request_.sampling.skip_special_tokens || !names_.IsSpecial(token);
}

Json AnswerWriter::PromptLogprobs(const RequestUpdate& result) const {
  const auto wanted = static_cast<size_t>(request_.prompt_logprobs.value_or(0));
  Json list = Json::array();
  for (const TokenLogprob& entry : result.prompt_logprobs) {
    if (entry.token < 0) {  // nothing predicts the first token
      list.push_back(nullptr);
      continue;
    }
    Json tokens = Json::object();
    const auto add = [&](int32_t token, float logprob, int32_t rank) {
      tokens[std::to_string(token)] = {{"logprob", PrintableLogprob(logprob)},
                                       {"rank", rank},
                                       {"decoded_token", names_.Name(token)}};
    };
    add(entry.token, entry.logprob, entry.rank);
    for (size_t i = 0; i < std::min(wanted, entry.top.size()); ++i) {
      const auto& [token, logprob] = entry.top[i];
      if (token != entry.token) add(token, logprob, static_cast<int32_t>(i) + 1);
    }
    list.push_back(std::move(tokens));
  }
  return list;
}

Json AnswerWriter::ChatLogprobs(const RequestUpdate& update) const {
  Json content = Json::array();
  for (const TokenLogprob& entry : update.logprobs) {
    Json token = ChatToken(entry.token, entry.logprob);
    token["top_logprobs"] = Json::array();
    for (const auto& [other, logprob] : entry.top) {
      token["top_logprobs"].push_back(ChatToken(other, logprob));
    }
    content.push_back(std::move(token));
  }
  return {{"content", std::move(content)}};
}

Json AnswerWriter::ChatToken(int32_t token, float logprob) const {
  Json bytes = Json::array();
  for (const char c : names_.Bytes(token)) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", names_.Name(token)},
          {"logprob", PrintableLogprob(logprob)},
          {"bytes", std::move(bytes)}};
}

}  // namespace tessera
