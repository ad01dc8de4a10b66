#include "text/chat_template.h"

#include <fmt/format.h>

#include "text/jinja/interpreter.h"

namespace dynamo::text {

struct ChatTemplate::Program {
  jinja::Body body;
};

namespace {

constexpr size_t kMaxSource = 1U << 20;

}  // namespace

ChatTemplate::ChatTemplate(std::unique_ptr<Program> program, TemplateLimits limits)
    : program_(std::move(program)), limits_(limits) {}
ChatTemplate::~ChatTemplate() = default;

Result<std::unique_ptr<ChatTemplate>> ChatTemplate::compile(std::string_view source, TemplateLimits limits) {
  if (source.size() > kMaxSource)
    return invalid(fmt::format("a chat template of {} bytes; at most {} are accepted", source.size(), kMaxSource));
  auto program = std::make_unique<Program>();
  auto body = jinja::parse(source, limits.depth);
  if (!body.is_ok()) return body.status().with("chat template");
  program->body = std::move(body).value();
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(program), limits));
}

Result<std::string> ChatTemplate::render(const boost::json::object& variables,
                                         std::chrono::system_clock::time_point now) const {
  return jinja::Interpreter(limits_, now).render(program_->body, variables);
}

}  // namespace dynamo::text
