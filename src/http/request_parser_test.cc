#include "http/request_parser.h"

#include <gtest/gtest.h>

namespace dynamo::http {
namespace {

using State = RequestParser::State;

RequestParser fed(std::string_view bytes, RequestLimits limits = {}) {
  RequestParser parser(limits);
  parser.push(bytes);
  return parser;
}

TEST(RequestParser, AWholeRequestIsTheSameHoweverItsBytesAreCut) {
  const std::string bytes =
      "POST /v1/x%2Fy?a=1 HTTP/1.1\r\nHost: h\r\nX-Y:  z \r\nTransfer-Encoding: chunked\r\n\r\n"
      "4;ext=1\r\nWiki\r\n5\r\npedia\r\n0\r\nTrailer: t\r\n\r\n";
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    RequestParser parser{RequestLimits{}};
    for (size_t at = 0; at < bytes.size(); at += piece) parser.push(std::string_view(bytes).substr(at, piece));
    ASSERT_EQ(parser.state(), State::kComplete) << piece;
    EXPECT_TRUE(parser.keeps_alive());
    const Request request = parser.take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/v1/x/y");
    EXPECT_EQ(request.query, "a=1");
    EXPECT_EQ(request.header("x-y"), "z");
    EXPECT_EQ(request.body, "Wikipedia");
    EXPECT_EQ(parser.state(), State::kIdle);
  }
}

TEST(RequestParser, PipelinedRequestsComeOutInOrder) {
  RequestParser parser =
      fed("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /3 "
          "HTTP/1.0\r\n\r\n");
  EXPECT_EQ(parser.take().path, "/1");
  ASSERT_EQ(parser.state(), State::kComplete);
  EXPECT_EQ(parser.take().body, "abc");
  ASSERT_EQ(parser.state(), State::kComplete);
  EXPECT_EQ(parser.version(), 10);
  EXPECT_FALSE(parser.keeps_alive());
  EXPECT_EQ(parser.take().path, "/3");
}

TEST(RequestParser, AnExpectationIsMetOnce) {
  RequestParser parser = fed("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(parser.state(), State::kBody);
  EXPECT_TRUE(parser.take_expects_continue());
  EXPECT_FALSE(parser.take_expects_continue());
  EXPECT_EQ(parser.push("ok"), State::kComplete);
}

struct Refusal {
  const char* name;
  std::string bytes;
  int status;
};
class RefusedRequest : public testing::TestWithParam<Refusal> {};

TEST_P(RefusedRequest, HasItsStatusAndClosesTheConnection) {
  RequestParser parser = fed(GetParam().bytes, {.header_bytes = 200, .body_bytes = 10});
  ASSERT_EQ(parser.state(), State::kFailed);
  EXPECT_EQ(parser.status(), GetParam().status) << parser.message();
  EXPECT_FALSE(parser.keeps_alive());
  EXPECT_FALSE(parser.message().empty());
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedRequest,
    testing::Values(
        Refusal{"NoHost", "GET / HTTP/1.1\r\n\r\n", 400},
        Refusal{"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        Refusal{"BothLengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                400},
        Refusal{"TwoLengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
        Refusal{"LengthNoNumber", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400},
        Refusal{"OtherCoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
        Refusal{"FoldedLine", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400},
        Refusal{"BareLf", "GET / HTTP/1.1\nHost: a\n\n", 400},
        Refusal{"BareCr", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400},
        Refusal{"SpaceBeforeColon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        Refusal{"Version2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505}, Refusal{"NoHttp", "hello\r\n\r\n", 400},
        Refusal{"OtherExpectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n", 417},
        Refusal{"Gzip", "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", 415},
        Refusal{"GzipInChunks",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: identity, gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
                415},
        Refusal{"TwoContentEncodings",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding:\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\n",
                415},
        Refusal{"LongHead", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(300, 'x'), 431},
        Refusal{"LongBody", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413},
        Refusal{"LongChunks",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n",
                413},
        Refusal{"BadChunk", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400}),
    [](const auto& info) { return info.param.name; });

TEST(RequestParser, ABodyIsTakenAsItIsAndTheCodingOfNoneDoesNotMatter) {
  for (const char* head :
       {"Content-Encoding: Identity\r\n", "Content-Encoding: \r\n", "Content-Encoding: identity, ,\r\n"}) {
    RequestParser parser = fed(fmt::format("POST / HTTP/1.1\r\nHost: a\r\n{}Content-Length: 5\r\n\r\nhello", head), {});
    ASSERT_EQ(parser.state(), RequestParser::State::kComplete) << parser.message();
    EXPECT_EQ(parser.take().body, "hello");
  }
  for (const char* head : {"", "Content-Length: 0\r\n"}) {
    RequestParser parser = fed(fmt::format("GET / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n{}\r\n", head), {});
    EXPECT_EQ(parser.state(), RequestParser::State::kComplete) << parser.message();
  }
}

TEST(SplitTarget, DecodesPathsAndRefusesWhatIsNone) {
  std::string path;
  std::string query;
  EXPECT_TRUE(split_target("http://host/a%20b?c=d", &path, &query));
  EXPECT_EQ(path, "/a b");
  EXPECT_EQ(query, "c=d");
  for (const char* bad : {"", "a", "/%", "/%0", "/%zz", "/%00"}) EXPECT_FALSE(split_target(bad, &path, &query)) << bad;
}

}  // namespace
}  // namespace dynamo::http
