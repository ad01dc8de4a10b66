// dynamo chat: talks with a server from the terminal.
#include <editline/readline.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>

#include "apps/chat_session.h"
#include "apps/command.h"
#include "apps/print.h"

namespace dynamo::apps {
namespace {

struct ChatFlags {
  ChatOptions options;
  std::vector<std::string> questions;
};

int answer(ChatSession* session, const std::string& question) {
  const auto stats = session->ask(question, print);
  if (!stats.is_ok()) {
    std::fprintf(stderr, "dynamo chat: %s\n", stats.status().to_string().c_str());
    return kFailed;
  }
  print("\n");
  std::fprintf(stderr, "[%s]\n", describe(*stats).c_str());
  return 0;
}

// One line of input; none at its end. On a terminal it can be edited, and earlier lines come back with the arrow keys.
std::optional<std::string> read_line(bool is_terminal) {
  if (!is_terminal) {
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  }
  char* line = readline("> ");
  if (line == nullptr) return std::nullopt;
  std::string text = line;
  std::free(line);  // NOLINT: editline's own allocation
  if (!text.empty()) add_history(text.c_str());
  return text;
}

int converse(ChatSession* session) {
  const bool is_terminal = isatty(STDIN_FILENO) == 1;
  if (is_terminal) {
    using_history();
    std::fprintf(stderr,
                 "Talking to %s. /reset forgets the conversation, /quit or Ctrl-D leaves, Ctrl-C stops an answer.\n",
                 session->model().c_str());
  }
  int status = 0;
  while (const auto line = read_line(is_terminal)) {
    if (*line == "/quit" || *line == "/exit") break;
    if (*line == "/reset") {
      session->reset();
      std::fprintf(stderr, "[forgotten]\n");
    } else if (!line->empty() && line->front() == '/') {
      std::fprintf(stderr, "[no command %s; there are /reset and /quit]\n", line->c_str());
    } else if (!line->empty()) {
      status = answer(session, *line);
    }
  }
  if (is_terminal) std::fprintf(stderr, "\n");
  return status;
}

int chat(const ChatFlags& flags) {
  auto session = ChatSession::open(flags.options);
  if (!session.is_ok()) {
    std::fprintf(stderr, "dynamo chat: %s\n", session.status().to_string().c_str());
    return kFailed;
  }
  if (flags.questions.empty()) return converse(session->get());
  for (const std::string& question : flags.questions)
    if (const int status = answer(session->get(), question); status != 0) return status;
  return 0;
}

}  // namespace

Command chat_command() {
  auto flags = std::make_shared<ChatFlags>();
  ChatOptions& options = flags->options;
  Command command{.name = "chat", .meaning = "Talk with a server from the terminal"};
  const auto add = [&](const char* flag, OptionValue value, const char* meaning) -> Option& {
    return command.options.add(flag, std::move(value), meaning).without_variable();
  };
  add("--url", text(&options.url), "The server").from("DYN_CHAT_URL");
  add("--model", text(&options.model), "Model to ask; by default the server's first");
  add("--system", text(&options.system), "System message; by default the model's own");
  add("--temperature", number(&options.temperature, 0.0, 2.0), "0 always takes the most likely token");
  add("--max-tokens", number(&options.max_tokens, 1U, 1U << 24), "Longest answer in tokens");
  add("--seed", number(&options.seed), "Same seed, same answer");
  add("--timeout", seconds(&options.timeout, 1, 86400), "Seconds for one answer");
  add("--ask", texts(&flags->questions),
      "Ask this, print the answer and how long it took, and leave; given again, the next turn");
  command.run = [=] { return chat(*flags); };
  return command;
}

}  // namespace dynamo::apps
