#include "server/protocol/unserved_fields.h"

#include <span>
#include <string>

namespace tessera {
namespace {

// null always changes nothing.
struct UnservedField {
  const char* name;
  const char* harmless;  // JSON
  const char* instead;
};

constexpr const char* kForms = "use response_format, guided_json, guided_regex or guided_choice";

constexpr UnservedField kUnserved[] = {
    {"suffix", "\"\"", "leave it out: the models continue a text and insert nothing"},
    {"use_beam_search", "false", "leave it out, or ask for several answers with n"},
    {"prompt_embeds", "null", "send text or token ids"},
    {"logits_processors", "[]", "leave it out, or use logit_bias"},
    {"vllm_xargs", "{}", "leave it out: this server has no processors that it could reach"},
    {"kv_transfer_params", "{}", "leave it out: this server computes prompts itself"},
    {"cache_salt", "\"\"", "leave it out, and start the server with --no-prefix-cache"},
    {"thinking_token_budget", "null", "leave it out, or lower max_tokens"},
    {"guided_whitespace_pattern", "null", "leave it out"},
    {"structural_tag", "null", kForms},
    {"grammar", "\"\"", kForms},      // llama.cpp's
    {"json_schema", "null", kForms},  // llama.cpp's and SGLang's
    {"regex", "null", kForms},        // SGLang's
    {"ebnf", "null", kForms},         // likewise
    {"functions", "[]", "use tools, which came after it"},
    {"audio", "null", "leave it out: answers are text"},
};

constexpr UnservedField kUnservedInChats[] = {
    {"echo", "false", "leave it out, and put the message in front yourself"},
    {"best_of", "1", "leave it out, or use /v1/completions"},
    {"chat_template", "null", "leave it out: the model's own is used, with chat_template_kwargs"},
    {"documents", "[]", "leave it out, and write them into a message"},
    {"modalities", "[\"text\"]", "leave it out: answers are text"},
    {"function_call", "\"none\"", "use tool_choice, which came after it"},
    {"include_reasoning", "true", "leave it out: reasoning is a part of the text"},
    {"web_search_options", "null", "leave it out: this server searches nothing"},
    {"verbosity", "\"medium\"", "leave it out, and say in a message what is wanted"},
};

void Refuse(std::span<const UnservedField> unserved, FieldReader* fields) {
  for (const UnservedField& field : unserved) {
    const Json* value = fields->Find(field.name);
    if (value == nullptr || *value == Json::parse(field.harmless)) continue;
    fields->Fail(ApiError::Invalid(
        field.name, std::string(field.name) + " is not supported; " + field.instead + "."));
  }
}

}  // namespace

void RefuseUnserved(FieldReader* fields) { Refuse(kUnserved, fields); }
void RefuseUnservedInChats(FieldReader* fields) { Refuse(kUnservedInChats, fields); }

}  // namespace tessera
