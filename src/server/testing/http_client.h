// A plain HTTP client for tests: blocking, with control over every byte that is sent.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera::testing {

struct ClientResponse {
  int status = 0;  // 0: the connection ended before an answer
  std::string head;
  std::string body;  // without the framing of chunks
};

// "POST /path" with a JSON body, as most clients send it. `headers` are whole lines.
std::string PostText(const std::string& path, const std::string& body,
                     const std::string& headers = "");
std::string GetText(const std::string& path, const std::string& headers = "");

// One connection to 127.0.0.1. Reads give up after two minutes.
class HttpClient {
 public:
  explicit HttpClient(uint16_t port);
  ~HttpClient() { Close(); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool connected() const { return descriptor_ >= 0; }
  // False if the server has closed the connection.
  bool Send(std::string_view bytes);
  // The whole next answer.
  ClientResponse Receive();
  // Reads until `text` has come; false at the end of the connection.
  bool ReceiveUntil(std::string_view text);
  // Reads so many bytes and forgets them; false at the end of the connection.
  bool Skip(size_t bytes);
  // Whether the server closes the connection without sending anything more.
  bool IsClosedByServer();
  void Close();
  // Ends the connection with a reset, as a killed process's.
  void Abort();

 private:
  bool Fill();  // reads some more into buffer_
  std::string Take(size_t bytes);

  int descriptor_ = -1;
  std::string buffer_;
};

// One request on a connection of its own.
ClientResponse Ask(uint16_t port, const std::string& request);

}  // namespace tessera::testing
