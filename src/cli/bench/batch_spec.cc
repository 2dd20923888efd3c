#include "cli/bench/batch_spec.h"

#include <algorithm>
#include <optional>

namespace tessera {

namespace {

constexpr int64_t kMaxTokens = int64_t{16} << 20;
constexpr int64_t kMaxRequests = 100000;

// Takes digits and an optional "k" off the front.
std::optional<int64_t> TakeNumber(std::string_view* text) {
  int64_t value = 0;
  size_t digits = 0;
  while (digits < text->size() && (*text)[digits] >= '0' && (*text)[digits] <= '9') {
    value = std::min(value * 10 + ((*text)[digits] - '0'), int64_t{1} << 40);
    ++digits;
  }
  if (digits == 0) return std::nullopt;
  text->remove_prefix(digits);
  if (text->starts_with('k')) {
    value *= 1024;
    text->remove_prefix(1);
  }
  return value;
}

bool Take(std::string_view* text, char c) {
  if (!text->starts_with(c)) return false;
  text->remove_prefix(1);
  return true;
}

Error BadSegment(std::string_view segment, const std::string& why) {
  return InvalidArgument("'" + std::string(segment) + "' in a batch is wrong: " + why +
                         " (a segment is [count]q<query>[s<sequence>], as in 32q1s4k)");
}

Status AppendSegment(std::string_view segment, std::vector<RequestShape>* requests) {
  std::string_view rest = segment;
  const int64_t count = rest.starts_with('q') ? 1 : TakeNumber(&rest).value_or(0);
  if (count < 1) return BadSegment(segment, "it must begin with q or a number of requests");
  if (!Take(&rest, 'q')) return BadSegment(segment, "q is missing");
  const auto query = TakeNumber(&rest);
  if (!query || *query < 1) return BadSegment(segment, "a query has at least one token");
  int64_t from = *query, to = *query;
  if (Take(&rest, 's')) {
    const auto length = TakeNumber(&rest);
    if (!length) return BadSegment(segment, "a length must follow s");
    from = to = *length;
    if (Take(&rest, '-')) {
      const auto end = TakeNumber(&rest);
      if (!end || *end < from) return BadSegment(segment, "a longer length must follow -");
      to = *end;
    }
  }
  if (!rest.empty()) return BadSegment(segment, "'" + std::string(rest) + "' is not understood");
  if (from < *query) return BadSegment(segment, "a sequence holds its query");
  if (to > kMaxTokens) return BadSegment(segment, "a sequence has at most 16 M tokens");
  if (static_cast<int64_t>(requests->size()) + count > kMaxRequests) {
    return BadSegment(segment, "a batch has at most 100,000 requests");
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t length = count == 1 ? to : from + (to - from) * i / (count - 1);
    requests->push_back({static_cast<int32_t>(*query), static_cast<int32_t>(length)});
  }
  return {};
}

}  // namespace

Result<std::vector<RequestShape>> ParseBatchSpec(std::string_view text) {
  std::vector<RequestShape> requests;
  while (true) {
    const size_t end = text.find('_');
    TESSERA_RETURN_IF_ERROR(AppendSegment(text.substr(0, end), &requests));
    if (end == std::string_view::npos) return requests;
    text.remove_prefix(end + 1);
  }
}

}  // namespace tessera
