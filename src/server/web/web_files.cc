#include "server/web/web_files.h"

#include <algorithm>
#include <iterator>
#include <span>

#include "server/protocol/api_error.h"

namespace tessera {

// Written by CMake from the folder page/.
std::span<const WebFile> WebFiles();

namespace {

constexpr std::string_view kFolder = "/web/";

// Nothing but the page's own files runs or is fetched, and no other page may frame it.
constexpr const char* kContentPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const char* TypeOf(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  if (name.ends_with(".js")) return "text/javascript; charset=utf-8";
  return "image/svg+xml";
}

}  // namespace

HttpResponse AnswerWithWebFile(const std::string& path) {
  const std::string_view name =
      path == "/" ? "index.html" : std::string_view(path).substr(kFolder.size());
  const std::span<const WebFile> files = WebFiles();
  const auto file =
      std::find_if(files.begin(), files.end(), [&](const WebFile& f) { return f.name == name; });
  if (file == files.end()) {
    return ErrorResponse(
        {404, "There is nothing at " + path + "; the page is at /.", "", "not_found"});
  }
  HttpResponse response;
  response.content_type = TypeOf(name);
  response.headers = {{"Content-Security-Policy", kContentPolicy},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Referrer-Policy", "no-referrer"},
                      {"Cache-Control", "no-cache"}};
  response.body = file->content;
  return response;
}

}  // namespace tessera
