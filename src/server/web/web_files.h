// The web page's files, which lie inside the program.
#pragma once

#include <string>
#include <string_view>

#include "server/http/http_message.h"

namespace tessera {

struct WebFile {
  std::string_view name;  // "index.html"
  std::string_view content;
};

// The answer to GET `path`: "/", or "/web/" and a file's name. 404 for all others.
HttpResponse AnswerWithWebFile(const std::string& path);

}  // namespace tessera
