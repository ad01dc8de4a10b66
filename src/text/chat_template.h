// Renders a conversation into a prompt with the model's own Jinja template.
//
// A sandboxed interpreter of the part of Jinja2 that model templates use, equal byte for byte to Python's jinja2 set up
// as transformers does (trim_blocks, lstrip_blocks, tojson without escaping, loopcontrols, raise_exception,
// strftime_now). It reaches nothing but its arguments: no files, no attributes of host objects. Language:
// docs/reference/chat_templates.md. Threads: immutable after compile(); render() may run on any thread at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "base/status.h"

namespace dynamo::text {

struct TemplateLimits {
  uint64_t steps = 2'000'000;  // expressions and statements evaluated
  uint32_t depth = 100;        // nested blocks, calls, macros, parentheses
  uint64_t output_bytes = 64ULL << 20;
  uint64_t memory_bytes = 256ULL << 20;  // values made while rendering
};

class ChatTemplate {
 public:
  // Errors: kInvalid with line and what was expected; kUnsupported for parts of Jinja that are not here, by name.
  static Result<std::unique_ptr<ChatTemplate>> compile(std::string_view source, TemplateLimits limits = {});
  ~ChatTemplate();

  // `variables` are the template's globals: messages, tools, add_generation_prompt, bos_token, eos_token, and the
  // client's own chat_template_kwargs. `now` is what strftime_now formats, in the local time zone. Errors: kInvalid
  // (raise_exception, with the template's own message; an undefined value used; a wrong type; with the line),
  // kExhausted (a limit).
  Result<std::string> render(const boost::json::object& variables, std::chrono::system_clock::time_point now) const;

 private:
  struct Program;
  ChatTemplate(std::unique_ptr<Program> program, TemplateLimits limits);
  std::unique_ptr<Program> program_;
  TemplateLimits limits_;
};

}  // namespace dynamo::text
