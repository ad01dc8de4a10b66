// dynamo docs flags|metrics: prints pages of docs/reference, so that they cannot differ from the program.
#include <cstdio>

#include "apps/command.h"
#include "apps/planes.h"
#include "base/metrics.h"
#include "engine/metrics.h"
#include "handoff/metrics.h"
#include "http/metrics.h"
#include "openai/metrics.h"
#include "router/metrics.h"

namespace dynamo::apps {
namespace {

void print_flags(const CLI::App& app) {
  std::puts(
      "# Flags\n\nPrinted by `dynamo docs flags` from what `--help` shows. A flag's environment variable, where it has "
      "one, stands"
      "\nbehind it; the flag wins.\n");
  std::printf("## dynamo\n\n```\n%s```\n", app.help().c_str());
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    std::printf("\n## dynamo %s\n\n```\n%s```\n", command->get_name().c_str(), command->help().c_str());
  }
}

void print_metrics() {
  std::puts(
      "# Metrics\n\nPrinted by `dynamo docs metrics` from where each module declares what it counts. Shown at "
      "`/metrics`."
      "\n\nWhat a worker shows of its engine and its hand-offs has the label `worker`, its name. When `dynamo ctl "
      "role` "
      "gives it"
      "\nanother name, all of it is shown with that one from then on, and its counters go on from where they were.\n");
  const std::vector<std::pair<const char*, std::vector<const MetricSpec*>>> modules = {
      {"openai", openai::kAllMetrics},   {"router", router::kAllMetrics}, {"engine", engine::kAllMetrics},
      {"handoff", handoff::kAllMetrics}, {"http", http::kAllMetrics},     {"planes", kPlaneMetrics}};
  for (const auto& [module, specs] : modules) {
    std::printf("## %s\n\n| metric | kind | meaning |\n|---|---|---|\n", module);
    for (const MetricSpec* spec : specs) {
      static constexpr const char* kKinds[] = {"counter", "gauge", "histogram"};
      std::printf("| `%s` | %s | %s |\n", spec->name, kKinds[static_cast<size_t>(spec->kind)], spec->meaning);
    }
    std::puts("");
  }
}

}  // namespace

void add_docs_command(CLI::App* app, Run* run) {
  CLI::App* command = app->add_subcommand("docs", "Print a page of docs/reference: flags or metrics");
  auto page = std::make_shared<std::string>();
  command->add_option("page", *page, "flags or metrics")->required()->check(CLI::IsMember({"flags", "metrics"}));
  command->callback([=] {
    *run = [=] {
      if (*page == "flags") {
        print_flags(*app);
      } else {
        print_metrics();
      }
      return 0;
    };
  });
}

}  // namespace dynamo::apps
