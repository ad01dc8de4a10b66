// Any text as a chat template: it renders, or is refused, within its limits.
#include <boost/json.hpp>

#include <string_view>

#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const boost::json::object kVariables = {
      {"messages",
       {{{"role", "system"}, {"content", "Be brief."}}, {{"role", "user"}, {"content", "Hi, \xE6\xBC\xA2"}}}},
      {"tools", {{{"name", "f"}, {"parameters", nullptr}}}},
      {"add_generation_prompt", true},
      {"number", 3.5}};
  constexpr dynamo::text::TemplateLimits kLimits{
      .steps = 20000, .depth = 30, .output_bytes = 1 << 16, .memory_bytes = 1 << 20};
  const auto compiled = dynamo::text::ChatTemplate::compile({reinterpret_cast<const char*>(data), size}, kLimits);
  if (!compiled.is_ok()) return 0;
  const auto text = (*compiled)->render(kVariables, std::chrono::system_clock::time_point());
  if (text.is_ok()) CHECK(text->size() <= kLimits.output_bytes);
  return 0;
}
