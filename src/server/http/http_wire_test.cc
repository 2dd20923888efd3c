#include "server/http/http_wire.h"

#include <gtest/gtest.h>

#include <string>

namespace tessera {
namespace {

TEST(HttpWireTest, Targets) {
  struct Case {
    const char* target;
    const char* path;
    const char* query;
  };
  for (const Case& c : {
           Case{"/", "/", ""},
           Case{"/v1/models?x=1?y", "/v1/models", "x=1?y"},
           Case{"/v1/models/org%2Fm", "/v1/models/org/m", ""},
           Case{"/a%3Fb?c%3D", "/a?b", "c%3D"},
           Case{"/%e2%82%ac%", "/\xe2\x82\xac%", ""},
           Case{"/%4", "/%4", ""},
           Case{"/%zz%2", "/%zz%2", ""},
           Case{"/%%41", "/%A", ""},
           Case{"http://host:8000/health", "/health", ""},
           Case{"HTTPS://host/a?b", "/a", "b"},
           Case{"http://host", "/", ""},
           Case{"http://host?b", "/", "b"},
           Case{"http://", "/", ""},
           Case{"https:/x", "https:/x", ""},
           Case{"*", "*", ""},
       }) {
    SCOPED_TRACE(c.target);
    HttpRequest request;
    ReadTarget(c.target, &request);
    EXPECT_EQ(request.target, c.target);
    EXPECT_EQ(request.path, c.path);
    EXPECT_EQ(request.query, c.query);
  }
}

TEST(HttpWireTest, HeadProblems) {
  const auto status = [](const HttpRequest& head, bool http_1_0) {
    const auto problem = FindHeadProblem(head, http_1_0);
    return problem ? problem->status : 0;
  };
  HttpRequest head;
  EXPECT_EQ(status(head, /*http_1_0=*/false), 400);
  EXPECT_FALSE(FindHeadProblem(head, /*http_1_0=*/true));
  head.headers = {{"host", ""}};
  EXPECT_FALSE(FindHeadProblem(head, /*http_1_0=*/false));
  head.headers.emplace_back("content-encoding", "Identity");
  EXPECT_FALSE(FindHeadProblem(head, /*http_1_0=*/false));
  head.headers.back().second = "gzip";
  EXPECT_EQ(status(head, /*http_1_0=*/true), 415);
  head.headers.back() = {"host", "b"};
  EXPECT_EQ(status(head, /*http_1_0=*/true), 400);
}

TEST(HttpWireTest, Dates) {
  EXPECT_EQ(HttpDate(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(HttpDate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(HttpDate(1709164800), "Thu, 29 Feb 2024 00:00:00 GMT");
}

}  // namespace
}  // namespace tessera
