// One subcommand of `dynamo`: declares its flags, then runs.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <string>

#include "base/status.h"

namespace dynamo::apps {

// Each adds its subcommand to `app` and stores in `run` what to call when the command line names it; `run` returns the exit status.
using Run = std::function<int()>;
void add_serve_command(CLI::App* app, Run* run);
void add_hub_command(CLI::App* app, Run* run);
void add_frontend_command(CLI::App* app, Run* run);
void add_worker_commands(CLI::App* app, Run* run);  // worker and decode-worker
void add_mocker_command(CLI::App* app, Run* run);
void add_ctl_command(CLI::App* app, Run* run);
void add_bench_command(CLI::App* app, Run* run);
void add_chat_command(CLI::App* app, Run* run);
void add_model_command(CLI::App* app, Run* run);
// Prints pages of docs/reference from the program itself: flags and metrics.
void add_docs_command(CLI::App* app, Run* run);

// Exit statuses: 0 done, 1 failed while running, 2 wrong command line.
inline constexpr int kFailed = 1;
inline constexpr int kWrongUsage = 2;

// Says what failed, if anything did. Returns: the exit status.
int finish(const std::string& command, const Status& status);

}  // namespace dynamo::apps
