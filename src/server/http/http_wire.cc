#include "server/http/http_wire.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdio>

#include "base/hex_digit.h"

namespace tessera {
namespace {

int64_t CountHeaders(const HttpRequest& head, std::string_view name) {
  return std::count_if(head.headers.begin(), head.headers.end(),
                       [&](const auto& field) { return field.first == name; });
}

}  // namespace

std::string LowerCase(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

std::string DecodePercents(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
    if (text[i] != '%' || high < 0 || low < 0) {
      result += text[i];
      continue;
    }
    result += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return result;
}

void ReadTarget(std::string_view target, HttpRequest* request) {
  request->target = target;
  const std::string start = LowerCase(target.substr(0, std::string_view("https://").size()));
  if (start.starts_with("http://") || start == "https://") {
    target.remove_prefix(target.find("//") + 2);
    target.remove_prefix(std::min(target.find_first_of("/?"), target.size()));
  }
  const size_t query = target.find('?');
  request->path = DecodePercents(target.substr(0, query));
  if (request->path.empty()) request->path = "/";
  if (query != std::string_view::npos) request->query = target.substr(query + 1);
}

std::optional<HeadProblem> FindHeadProblem(const HttpRequest& head, bool http_1_0) {
  const int64_t hosts = CountHeaders(head, "host");
  if (hosts > 1 || (hosts == 0 && !http_1_0)) {
    return HeadProblem{400, "A request of HTTP/1.1 has one Host header, but this one has " +
                                std::to_string(hosts) + "."};
  }
  const std::string encoding = LowerCase(head.Header("content-encoding"));
  if (!encoding.empty() && encoding != "identity") {
    return HeadProblem{415, "The body's encoding '" + encoding +
                                "' is not understood; send it without Content-Encoding."};
  }
  return std::nullopt;
}

std::string HttpDate(std::time_t time) {
  static constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 64> text;
  const int size = std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                                 kDays[static_cast<size_t>(parts.tm_wday)], parts.tm_mday,
                                 kMonths[static_cast<size_t>(parts.tm_mon)], parts.tm_year + 1900,
                                 parts.tm_hour, parts.tm_min, parts.tm_sec);
  return {text.data(), static_cast<size_t>(size)};
}

std::string AnswerHead(const HttpResponse& response, const HttpHeaders& more,
                       const AnswerFraming& framing) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " " +
                     std::string(HttpReason(response.status)) +
                     "\r\nDate: " + HttpDate(std::time(nullptr)) + "\r\n";
  for (const HttpHeaders* headers : {&response.headers, &more}) {
    for (const auto& [name, value] : *headers) {
      head.append(name).append(": ").append(value).append("\r\n");
    }
  }
  if (!response.content_type.empty()) head += "Content-Type: " + response.content_type + "\r\n";
  if (framing.chunked) {
    head += "Transfer-Encoding: chunked\r\n";
  } else if (response.status != 204 && (framing.keep_alive || !framing.http_1_0)) {
    head += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  }
  if (!framing.keep_alive) {
    head += "Connection: close\r\n";
  } else if (framing.http_1_0) {
    head += "Connection: keep-alive\r\n";
  }
  return head + "\r\n";
}

void AppendChunk(std::string_view data, std::string* out) {
  std::array<char, 16> size;
  const auto end = std::to_chars(size.data(), size.data() + size.size(), data.size(), 16).ptr;
  out->append(size.data(), end);
  out->append("\r\n");
  out->append(data);
  out->append("\r\n");
}

}  // namespace tessera
