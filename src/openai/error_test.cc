#include "openai/error.h"

#include <gtest/gtest.h>

#include "openai/service.h"
#include "text/utf8.h"

namespace dynamo::openai {
namespace {

TEST(ErrorTable, EveryCodeHasItsStatus) {
  const std::pair<Code, int> rows[] = {{Code::kInvalid, 400},   {Code::kUnsupported, 400}, {Code::kNotFound, 404},
                                       {Code::kCancelled, 499}, {Code::kInternal, 500},    {Code::kCorrupt, 500},
                                       {Code::kExhausted, 503}, {Code::kUnavailable, 503}, {Code::kDeadline, 504}};
  for (const auto& [code, status] : rows) EXPECT_EQ(http_status(code), status) << code_name(code);
}

TEST(ErrorBody, IsOpenAisErrorObject) {
  EXPECT_EQ(
      error_body(ApiError{Code::kInvalid, "Say \"please\".", "messages[0]", "invalid_value"}),
      R"({"error":{"message":"Say \"please\".","type":"invalid_request_error","param":"messages[0]","code":"invalid_value"}})");
  EXPECT_EQ(error_body(to_api_error(invalid("no"))),
            R"({"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}})");
  EXPECT_EQ(error_body(to_api_error(exhausted("full"))),
            R"({"error":{"message":"full","type":"server_error","param":null,"code":"server_overloaded"}})");
}

TEST(ErrorBody, IsUtf8WhateverBytesItSpeaksOf) {
  EXPECT_EQ(
      error_response(404, "there is no /\xFF here").body,
      "{\"error\":{\"message\":\"there is no /\xEF\xBF\xBD here\",\"type\":\"invalid_request_error\",\"param\":null,"
      "\"code\":\"not_found\"}}");
  const std::string body = error_body(ApiError{Code::kInvalid, "a\xE4\xBD", "\xC0\xAF", "\x80"});
  EXPECT_EQ(text::valid_utf8_prefix(body), body.size());
  EXPECT_NE(body.find("\"message\":\"a\xEF\xBF\xBD\""), std::string::npos) << body;
}

TEST(ErrorResponse, SaysWhenToComeBackOnlyIfThatHelps) {
  EXPECT_EQ(to_response(to_api_error(exhausted("full"))).headers, (http::Headers{{"retry-after", "1"}}));
  EXPECT_EQ(to_response(to_api_error(unavailable("gone"))).headers, (http::Headers{{"retry-after", "1"}}));
  EXPECT_TRUE(to_response(to_api_error(deadline("late"))).headers.empty());
}

TEST(ErrorResponse, OfTheHttpServerLooksLikeAllOthers) {
  const std::pair<int, const char*> rows[] = {{404, "\"not_found\""},
                                              {405, "\"method_not_allowed\""},
                                              {408, "\"request_timeout\""},
                                              {413, "\"request_too_large\""},
                                              {431, "\"header_too_large\""},
                                              {400, "null"},
                                              {415, "\"unsupported_content_encoding\""}};
  for (const auto& [status, code] : rows) {
    const auto response = error_response(status, "why");
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.content_type, "application/json");
    EXPECT_EQ(
        response.body,
        std::string(R"({"error":{"message":"why","type":"invalid_request_error","param":null,"code":)") + code + "}}");
  }
  EXPECT_EQ(error_response(500, "why").body,
            R"({"error":{"message":"why","type":"server_error","param":null,"code":"internal_error"}})");
}

}  // namespace
}  // namespace dynamo::openai
