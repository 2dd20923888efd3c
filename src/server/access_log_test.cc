#include "server/access_log.h"

#include <gtest/gtest.h>

#include "server/protocol/api_error.h"

namespace tessera {
namespace {

TEST(AccessLogTest, Lines) {
  HttpRequest head;
  head.method = "POST";
  head.target = "/v1/completions?key=secret";
  head.peer = "10.0.0.1";
  AnswerRecord record;
  record.status = 200;
  record.is_complete = true;
  record.seconds = 0.01234;
  EXPECT_EQ(AccessLine(head, record, /*all=*/false), "");
  EXPECT_EQ(AccessLine(head, record, /*all=*/true), "POST /v1/completions 200 12.3 ms 10.0.0.1");
  record.notes.prompt_tokens = 7;
  record.notes.output_tokens = 16;
  record.is_complete = false;
  EXPECT_EQ(AccessLine(head, record, /*all=*/true),
            "POST /v1/completions 200 12.3 ms 7+16 tokens 10.0.0.1 (not sent whole)");
  record.notes.error_status = 503;
  record.notes.error = "It\nstops\x9b.";
  EXPECT_EQ(AccessLine(head, record, /*all=*/false),
            "warning: POST /v1/completions 503 12.3 ms 7+16 tokens 10.0.0.1 (not sent whole): "
            "It?stops?.");
}

TEST(AccessLogTest, FailuresTellTheirSentence) {
  AnswerRecord record;
  record.status = 500;
  record.is_complete = true;
  record.failure = ErrorJson({500, "It broke.", "", ""});
  EXPECT_EQ(AccessLine({}, record, /*all=*/false), "warning: - - 500 0.0 ms: It broke.");
  for (const char* body : {R"({"status":"loading"})", "not json", "", R"({"error":5})", "[]"}) {
    record.failure = body;
    EXPECT_EQ(AccessLine({}, record, /*all=*/false), "") << body;
  }
}

}  // namespace
}  // namespace tessera
