#include "server/testing/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace tessera::testing {
namespace {

constexpr int kTimeoutSeconds = 120;

// The value of a header, "" if there is none. `name` as the server writes it.
std::string HeaderOf(const std::string& head, const std::string& name) {
  const size_t begin = head.find("\r\n" + name + ": ");
  if (begin == std::string::npos) return "";
  const size_t value = begin + name.size() + 4;
  return head.substr(value, head.find("\r\n", value) - value);
}

}  // namespace

std::string PostText(const std::string& path, const std::string& body, const std::string& headers) {
  return "POST " + path + " HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n" +
         headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string GetText(const std::string& path, const std::string& headers) {
  return "GET " + path + " HTTP/1.1\r\nHost: test\r\n" + headers + "\r\n";
}

HttpClient::HttpClient(uint16_t port) {
  descriptor_ = socket(AF_INET, SOCK_STREAM, 0);
  const timeval timeout{kTimeoutSeconds, 0};
  setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) Close();
}

bool HttpClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool HttpClient::Fill() {
  std::array<char, 16384> bytes;
  const ssize_t count = recv(descriptor_, bytes.data(), bytes.size(), 0);
  if (count <= 0) return false;
  buffer_.append(bytes.data(), static_cast<size_t>(count));
  return true;
}

std::string HttpClient::Take(size_t bytes) {
  std::string taken = buffer_.substr(0, bytes);
  buffer_.erase(0, bytes);
  return taken;
}

bool HttpClient::ReceiveUntil(std::string_view text) {
  size_t found = 0;
  while ((found = buffer_.find(text)) == std::string::npos) {
    if (!Fill()) return false;
  }
  Take(found + text.size());
  return true;
}

bool HttpClient::Skip(size_t bytes) {
  while (bytes > buffer_.size()) {
    bytes -= buffer_.size();
    buffer_.clear();
    if (!Fill()) return false;
  }
  Take(bytes);
  return true;
}

ClientResponse HttpClient::Receive() {
  ClientResponse response;
  size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!Fill()) return response;
  }
  response.head = Take(end + 4);
  response.status = std::atoi(response.head.c_str() + response.head.find(' '));
  if (HeaderOf(response.head, "Transfer-Encoding") == "chunked") {
    while (true) {
      while ((end = buffer_.find("\r\n")) == std::string::npos) {
        if (!Fill()) return response;
      }
      const size_t size = std::strtoul(Take(end + 2).c_str(), nullptr, 16);
      while (buffer_.size() < size + 2) {
        if (!Fill()) return response;
      }
      response.body += Take(size);
      Take(2);
      if (size == 0) return response;
    }
  }
  const size_t length =
      std::strtoul(HeaderOf(response.head, "Content-Length").c_str(), nullptr, 10);
  while (buffer_.size() < length) {
    if (!Fill()) return response;
  }
  response.body = Take(length);
  return response;
}

bool HttpClient::IsClosedByServer() {
  return buffer_.empty() && !Fill() && errno != EAGAIN && errno != EWOULDBLOCK;
}

void HttpClient::Close() {
  if (descriptor_ >= 0) close(descriptor_);
  descriptor_ = -1;
}

void HttpClient::Abort() {
  const linger reset{1, 0};
  setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  Close();
}

ClientResponse Ask(uint16_t port, const std::string& request) {
  HttpClient client(port);
  if (!client.connected()) return {};
  client.Send(request);  // a server that refuses early may not read all of it
  return client.Receive();
}

}  // namespace tessera::testing
