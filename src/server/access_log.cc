#include "server/access_log.h"

#include <array>
#include <cstdio>

#include "server/protocol/json.h"

namespace tessera {
namespace {

constexpr size_t kMaxText = 500;

std::string Printable(std::string_view text) {
  std::string result;
  for (const char c : text.substr(0, kMaxText)) {
    const auto byte = static_cast<unsigned char>(c);
    result += byte < 0x20 || byte >= 0x7f ? '?' : c;
  }
  return result;
}

// "" if the answer is no error in OpenAI's form, as that of /health while the model loads.
std::string SentenceOf(const AnswerRecord& record) {
  if (!record.notes.error.empty()) return record.notes.error;
  const Json body = Json::parse(record.failure, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object() || !body.contains("error") || !body["error"].is_object()) return "";
  return body["error"].value("message", "");
}

}  // namespace

std::string AccessLine(const HttpRequest& head, const AnswerRecord& record, bool all) {
  const int status = record.notes.error_status != 0 ? record.notes.error_status : record.status;
  const std::string sentence = status >= 500 ? SentenceOf(record) : "";
  if (sentence.empty() && !all) return "";
  std::array<char, 32> time;
  std::snprintf(time.data(), time.size(), "%.1f ms", record.seconds * 1e3);
  std::string line = sentence.empty() ? "" : "warning: ";
  line += head.method.empty() ? "-" : Printable(head.method);
  line += ' ';
  line += head.target.empty() ? "-" : Printable(head.target.substr(0, head.target.find('?')));
  line += ' ' + std::to_string(status) + ' ' + time.data();
  if (record.notes.prompt_tokens > 0) {
    line += ' ' + std::to_string(record.notes.prompt_tokens) + '+' +
            std::to_string(record.notes.output_tokens) + " tokens";
  }
  if (!head.peer.empty()) line += ' ' + head.peer;
  if (!record.is_complete) line += " (not sent whole)";
  if (!sentence.empty()) line += ": " + Printable(sentence);
  return line;
}

}  // namespace tessera
