// `tessera serve` as a process: started, asked, told to stop.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "program.h"
#include "server/testing/http_client.h"

namespace {

using tessera::testing::Ask;
using tessera::testing::GetText;
using tessera::testing::HttpClient;
using tessera::testing::PostText;
using ::testing::HasSubstr;

// A server that runs; its messages go to a file.
class ServerProcess {
 public:
  explicit ServerProcess(std::vector<std::string> options) {
    options.insert(options.begin(), {std::getenv("TESSERA_PROGRAM"), "serve", "--port", "0"});
    messages_ = ::testing::TempDir() + "tessera-serve-" + std::to_string(getpid()) + ".log";
    std::vector<char*> arguments;
    for (std::string& option : options) arguments.push_back(option.data());
    arguments.push_back(nullptr);
    process_ = fork();
    if (process_ == 0) {
      const int file = open(messages_.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
      dup2(file, STDERR_FILENO);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
  }
  ~ServerProcess() {
    if (process_ > 0) {
      kill(process_, SIGKILL);
      waitpid(process_, nullptr, 0);
    }
    unlink(messages_.c_str());
  }

  // Waits until the messages contain `text`; false where the process ends before.
  bool WaitFor(const std::string& text) {
    for (int i = 0; i < 60000; ++i) {
      if (Messages().find(text) != std::string::npos) return true;
      if (waitpid(process_, nullptr, WNOHANG) != 0) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }

  std::string Messages() const { return ReadFile(messages_); }

  uint16_t Port() const {
    const std::string start = "listening on http://127.0.0.1:";
    const std::string messages = Messages();
    const size_t found = messages.find(start);
    if (found == std::string::npos) return 0;
    return static_cast<uint16_t>(std::atoi(messages.c_str() + found + start.size()));
  }

  void Signal(int signal) const { kill(process_, signal); }

  int ExitCode() {
    int status = 0;
    waitpid(process_, &status, 0);
    process_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  std::string messages_;
  pid_t process_ = -1;
};

// Runs until somebody stops it.
std::string EndlessStream() {
  return PostText("/v1/completions",
                  R"({"prompt": "x", "max_tokens": 2000, "ignore_eos": true, "stream": true})");
}

TEST(CliServeTest, AnswersAndStopsOnASignal) {
  for (const int signal : {SIGINT, SIGTERM}) {
    ServerProcess server({SourceDirectory() + "/models/tiny-math", "--kv-cache-size", "64MB"});
    ASSERT_TRUE(server.WaitFor("metrics ")) << server.Messages();
    EXPECT_THAT(server.Messages(), HasSubstr("serves tiny-math"));
    EXPECT_THAT(server.Messages(), HasSubstr("curl http://127.0.0.1:"));
    EXPECT_EQ(Ask(server.Port(), GetText("/health")).status, 200);
    EXPECT_EQ(Ask(server.Port(), PostText("/v1/completions", R"({"prompt": "x"})")).status, 200);
    server.Signal(signal);
    EXPECT_EQ(server.ExitCode(), 0);
  }
}

TEST(CliServeTest, AFallbackDeviceIsOpenedAtTheStart) {
  std::vector<std::string> fallbacks = {"fenced"};
  // Computes if the build has its kernels.
  const ProgramResult backends = RunProgram({"backends", "--device", "simt-emulated"});
  if (backends.output.find("usable on simt-emulated") != std::string::npos) {
    fallbacks.push_back("simt-emulated");
  }
  for (const std::string& fallback : fallbacks) {
    ServerProcess server(
        {"--kv-cache-size", "64MB", "--device", "cpu", "--fallback-device", fallback});
    ASSERT_TRUE(server.WaitFor("metrics ")) << server.Messages();
    EXPECT_THAT(server.Messages(), HasSubstr("Fallback: " + fallback + " takes over"));
    EXPECT_EQ(Ask(server.Port(), PostText("/v1/completions", R"({"prompt": "x"})")).status, 200);
    server.Signal(SIGTERM);
    EXPECT_EQ(server.ExitCode(), 0);
  }
}

TEST(CliServeTest, AFallbackDeviceThatCannotTakeOverIsRefused) {
  const ProgramResult same =
      RunProgram({"serve", "--port", "0", "--device", "cpu", "--fallback-device", "cpu"});
  EXPECT_EQ(same.exit_code, 2);
  EXPECT_THAT(same.errors, HasSubstr("fallback_device is cpu, on which the model runs already"));
  const ProgramResult unknown = RunProgram({"serve", "--port", "0", "--fallback-device", "gpu"});
  EXPECT_EQ(unknown.exit_code, 3);
  EXPECT_THAT(unknown.errors, HasSubstr("The fallback device gpu cannot serve"));
}

TEST(CliServeTest, AnswersUnderWayMayEnd) {
  ServerProcess server({"--kv-cache-size", "64MB", "--served-model-name", "some-name"});
  ASSERT_TRUE(server.WaitFor("metrics ")) << server.Messages();
  HttpClient client(server.Port());
  client.Send(PostText("/v1/completions", R"({"prompt": "x", "max_tokens": 300, "model":
                       "some-name", "ignore_eos": true, "stream": true})"));
  ASSERT_TRUE(client.ReceiveUntil("data: "));
  server.Signal(SIGTERM);
  EXPECT_TRUE(client.ReceiveUntil("data: [DONE]"));
  EXPECT_EQ(server.ExitCode(), 0);
}

TEST(CliServeTest, ASecondSignalAndTheTimeLimitStopAtOnce) {
  for (const bool second : {true, false}) {
    ServerProcess server({"--kv-cache-size", "64MB", "--drain-timeout", second ? "600" : "0"});
    ASSERT_TRUE(server.WaitFor("metrics ")) << server.Messages();
    HttpClient client(server.Port());
    client.Send(EndlessStream());
    ASSERT_TRUE(client.ReceiveUntil("data: "));
    server.Signal(SIGINT);
    if (second) {
      ASSERT_TRUE(server.WaitFor("Ctrl-C again")) << server.Messages();
      server.Signal(SIGINT);
    }
    EXPECT_TRUE(client.ReceiveUntil("The server is shutting down"));
    EXPECT_TRUE(client.ReceiveUntil("data: [DONE]\n\n\r\n0\r\n\r\n")) << "a proper end";
    client.Close();
    EXPECT_EQ(server.ExitCode(), 130);
    EXPECT_THAT(server.Messages(), HasSubstr("1 answers were cut"));
  }
}

TEST(CliServeTest, WhatCannotBeServedIsSaid) {
  EXPECT_EQ(RunProgram({"serve", "/no/such/directory", "-q", "--port", "0"}).exit_code, 3);
  const ProgramResult port = RunProgram({"serve", "--port", "99999"});
  EXPECT_EQ(port.exit_code, 2);
  EXPECT_THAT(port.errors, HasSubstr("65535"));
  for (const bool is_flag : {true, false}) {
    const ProgramResult key = is_flag
                                  ? RunProgram({"serve", "--port", "0", "--api-key", ""})
                                  : RunProgram({"serve", "--port", "0"}, "", {"TESSERA_API_KEY="});
    EXPECT_EQ(key.exit_code, 2);
    EXPECT_THAT(key.errors, HasSubstr("the API key is empty"));
  }
  EXPECT_EQ(RunProgram({"serve", "--max-request-size", "x", "--port", "0"}).exit_code, 2);
  EXPECT_EQ(RunProgram({"serve", "--host", "no such host"}).exit_code, 2);
  EXPECT_EQ(RunProgram({"bench", "serve", "--url", "http://127.0.0.1:1"}).exit_code, 7);
}

}  // namespace
