// A line about each request.
#pragma once

#include <string>

#include "server/http/http_message.h"

namespace tessera {

// "POST /v1/completions 200 12.5 ms 7+16 tokens 127.0.0.1": what was asked, how it ended (0: the
// client left before its answer began), how long it took, prompt and output tokens, who asked. An
// answer that was not sent whole says so. With a failure of the server, a status from 500 on or an
// error in a stream, "warning: " comes first and the sentence last; without one "", unless `all`.
// Queries and headers, which may hold secrets, are left out; what is left is printable ASCII.
std::string AccessLine(const HttpRequest& head, const AnswerRecord& record, bool all);

}  // namespace tessera
