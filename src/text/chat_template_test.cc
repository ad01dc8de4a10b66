#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include <ctime>
#include <fstream>
#include <sstream>

namespace dynamo::text {
namespace {

namespace json = boost::json;

// The moment that the vectors' strftime_now shows, in the local time zone.
std::chrono::system_clock::time_point vector_time() {
  std::tm parts{};
  parts.tm_year = 2026 - 1900;
  parts.tm_mon = 2;
  parts.tm_mday = 4;
  parts.tm_hour = 5;
  parts.tm_min = 6;
  parts.tm_sec = 7;
  parts.tm_isdst = -1;
  return std::chrono::system_clock::from_time_t(std::mktime(&parts));
}

Result<std::string> render(std::string_view source, const json::object& variables = {}, TemplateLimits limits = {}) {
  TRY(const auto compiled, ChatTemplate::compile(source, limits));
  return compiled->render(variables, vector_time());
}

// testdata/templates.json is made by testdata/make_template_vectors.py from Python's jinja2.
TEST(ChatTemplate, RendersWhatJinja2RendersAndFailsWhereItFails) {
  std::ifstream file(DYNAMO_SOURCE_DIR "/src/text/testdata/templates.json");
  std::stringstream text;
  text << file.rdbuf();
  const json::value data = json::parse(text.str());
  size_t checked = 0;
  for (const json::value& vector : data.at("vectors").as_array()) {
    const std::string source(data.at("sources").at(vector.at(0).as_int64()).as_string());
    const auto got = render(source, data.at("contexts").at(vector.at(1).as_int64()).as_object());
    if (vector.at(2).is_null()) {
      EXPECT_FALSE(got.is_ok()) << source << "\nrendered " << (got.is_ok() ? *got : "");
    } else {
      EXPECT_EQ(got.is_ok() ? *got : got.status().to_string(), std::string(vector.at(2).as_string())) << source;
    }
    ++checked;
  }
  EXPECT_GT(checked, 300u);
}

TEST(ChatTemplate, ATemplatesOwnErrorIsItsMessageWithTheLine) {
  const auto failed = render("\n\n{{ raise_exception('roles must alternate') }}");
  EXPECT_EQ(failed.status().code(), Code::kInvalid);
  EXPECT_EQ(failed.status().text(), "line 3: roles must alternate");
}

TEST(ChatTemplate, WhatGrowsOrRunsWithoutEndIsStopped) {
  const TemplateLimits limits{.steps = 10000, .depth = 50, .output_bytes = 10000, .memory_bytes = 1 << 20};
  for (const char* source : {
           "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
           "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
           "{{ 'x' * 1000000000 }}",
           "{{ [0] * 1000000000 }}",
           "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
           "{% for i in range(99999) %}xxxxxxxxxxxx{% endfor %}",
           "{{ 'x' | center(1000000000) }}",
           "{{ '%1000000000d' % 1 }}",
       }) {
    EXPECT_FALSE(render(source, {}, limits).is_ok()) << source;
  }
  EXPECT_EQ(render("{{ 'x' * 1000000000 }}", {}, limits).status().code(), Code::kExhausted);
}

TEST(ChatTemplate, SourceNestedTooDeepIsRefused) {
  EXPECT_FALSE(ChatTemplate::compile(std::string("{{ ") + std::string(100000, '(') + "1").is_ok());
  std::string blocks;
  for (int i = 0; i < 1000; ++i) blocks += "{% if true %}";
  EXPECT_FALSE(ChatTemplate::compile(blocks).is_ok());
  std::string negations = "{{ ";
  for (int i = 0; i < 100000; ++i) negations += "not ";
  EXPECT_FALSE(ChatTemplate::compile(negations + "1 }}").is_ok());
  std::string sum = "{{ 1";
  for (int i = 0; i < 100000; ++i) sum += " + 1";
  EXPECT_FALSE(ChatTemplate::compile(sum + " }}").is_ok());
}

}  // namespace
}  // namespace dynamo::text
