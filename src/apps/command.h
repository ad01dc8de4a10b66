// One subcommand of `dynamo`: its options, and what it does.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/options.h"
#include "base/status.h"

namespace dynamo::apps {

struct Command {
  std::string name;
  std::string meaning;
  OptionSet options = {};
  std::function<int()> run = nullptr;  // once its options have their values; returns the exit status
  std::vector<Command> commands =
      {};  // of its own, one of which must be named; then it has no options and does not run itself
};

// Each keeps its values itself.
Command serve_command(const OptionSet* of_program);  // which it hands on to the processes that it starts
Command hub_command();
Command frontend_command();
Command worker_command();
Command decode_worker_command();
Command mocker_command();
Command ctl_command();
Command bench_command();
Command chat_command();
Command model_command();
// Prints pages of docs/reference from the program itself.
Command docs_command(const Command* program);

// Exit statuses: 0 done, 1 failed while running, 2 wrong command line.
inline constexpr int kFailed = 1;
inline constexpr int kWrongUsage = 2;

// Says what failed, if anything did. Returns: the exit status.
int finish(const std::string& command, const Status& status);

}  // namespace dynamo::apps
