#include "text/chat/chat_template.h"

#include <new>

#include "text/chat/error.h"
#include "text/chat/interpreter.h"
#include "text/chat/lexer.h"
#include "text/chat/parser.h"
#include "text/chat/text.h"

namespace tessera {
namespace {

constexpr size_t kMaxSourceBytes = size_t{4} << 20;

std::string AtLine(int line, const char* message) {
  return "Chat template, line " + std::to_string(line) + ": " + message;
}

std::tm LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

}  // namespace

struct ChatTemplate::Impl {
  chat::Body body;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::Parse(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return InvalidArgument("The chat template is larger than 4 MiB.");
  }
  if (!chat::IsValidUtf8(source)) return Corrupt("The chat template is not valid UTF-8.");
  try {
    auto impl = std::make_unique<Impl>();
    impl->body = chat::Parser(chat::Tokenize(source)).Parse();
    return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(impl)));
  } catch (const chat::SyntaxError& error) {
    return InvalidArgument(AtLine(error.line(), error.what()));
  } catch (const chat::TemplateError& error) {
    return InvalidArgument(AtLine(1, error.what()));
  }
}

Result<std::string> ChatTemplate::Render(const nlohmann::ordered_json& context,
                                         const RenderOptions& options) const {
  if (!context.is_object())
    return InvalidArgument("The context of a chat template is not an object.");
  try {
    const chat::Value values = chat::FromJson(context);
    chat::Interpreter interpreter(values, options.now.has_value() ? *options.now : LocalTime(),
                                  {options.max_steps, options.max_value_bytes});
    try {
      return interpreter.Render(impl_->body);
    } catch (const chat::TemplateError& error) {
      return InvalidArgument(AtLine(interpreter.line(), error.what()));
    }
  } catch (const chat::TemplateError& error) {
    return InvalidArgument(std::string("Chat template: ") + error.what());
  }
}

}  // namespace tessera
